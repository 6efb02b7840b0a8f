//! Which device to compute on: facts about the browser in, a choice and its reason in words out.
//! No JS types, so that every branch is tested natively.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The device that the caller asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// WebGPU where it is good, the CPU otherwise.
    #[default]
    Auto,
    /// WebGPU or an error.
    WebGpu,
    /// The CPU.
    Cpu,
}

/// What the browser reports of its GPU, as `probe()` in `shim.js` collects it.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GpuFacts {
    /// Whether the page is a secure context (HTTPS or localhost).
    pub secure: bool,
    /// Whether `navigator.gpu` exists.
    pub has_api: bool,
    /// The adapter, if one was given.
    pub adapter: Option<AdapterFacts>,
    /// What `requestAdapter` threw, if it did.
    pub error: Option<String>,
}

/// One WebGPU adapter.
#[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AdapterFacts {
    /// Such as `nvidia`; often empty, browsers hide it.
    pub vendor: String,
    /// Such as `ampere`.
    pub architecture: String,
    /// A longer name, where the browser reports one.
    pub description: String,
    /// Whether it is a software adapter, which computes on the CPU.
    pub is_fallback: bool,
    /// Optional WebGPU features.
    pub features: Vec<String>,
    /// WebGPU limits by name.
    pub limits: BTreeMap<String, f64>,
}

/// A limit that our largest tensor or kernel needs: name, least value, and what needs it.
const NEEDED_LIMITS: [(&str, f64, &str); 5] = [
    (
        "maxStorageBufferBindingSize",
        134_217_728.0,
        "the embedding table is one binding",
    ),
    (
        "maxBufferSize",
        134_217_728.0,
        "the embedding table is one buffer",
    ),
    (
        "maxStorageBuffersPerShaderStage",
        8.0,
        "kernels bind up to 8 buffers",
    ),
    (
        "maxComputeInvocationsPerWorkgroup",
        256.0,
        "kernels use 256 invocations",
    ),
    (
        "maxComputeWorkgroupStorageSize",
        16_384.0,
        "kernels use 16 KiB of workgroup memory",
    ),
];

/// Which device computes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Whether to use WebGPU; the CPU otherwise.
    pub webgpu: bool,
    /// Whether that WebGPU is a software adapter.
    pub software: bool,
    /// Why, in words for the user.
    pub why: String,
}

impl AdapterFacts {
    /// A name in words: description, else architecture and vendor, else "this GPU".
    #[must_use]
    pub fn name(&self) -> String {
        let parts = [self.vendor.as_str(), self.architecture.as_str()];
        let pair = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        match (self.description.is_empty(), pair.is_empty()) {
            (false, _) => self.description.clone(),
            (true, false) => pair,
            (true, true) => "this GPU".to_owned(),
        }
    }
}

/// Decides. `Err` only when WebGPU was asked for and is not available.
///
/// # Errors
/// [`Error::DeviceUnavailable`] with the reason for which the CPU would have been chosen.
pub fn choose(facts: &GpuFacts, wish: Wish, allow_software: bool) -> Result<Choice> {
    if wish == Wish::Cpu {
        return Ok(cpu("the CPU was asked for".to_owned()));
    }
    match (obstacle(facts, allow_software), &facts.adapter) {
        (None, Some(adapter)) => Ok(Choice {
            webgpu: true,
            software: adapter.is_fallback,
            why: if adapter.is_fallback {
                format!(
                    "WebGPU on {} (software, asked for; slower than the CPU)",
                    adapter.name()
                )
            } else {
                format!("WebGPU on {}", adapter.name())
            },
        }),
        (why, _) => {
            let why = why.unwrap_or_else(|| "no adapter was given".to_owned());
            match wish {
                Wish::WebGpu => Err(Error::DeviceUnavailable {
                    asked: "webgpu".to_owned(),
                    why,
                }),
                Wish::Auto | Wish::Cpu => Ok(cpu(why)),
            }
        }
    }
}

/// The CPU, with the reason.
#[must_use]
pub fn cpu(why: String) -> Choice {
    Choice {
        webgpu: false,
        software: false,
        why,
    }
}

/// The first reason not to start WebGPU here, if there is one.
fn obstacle(facts: &GpuFacts, allow_software: bool) -> Option<String> {
    if !facts.secure {
        return Some("WebGPU needs HTTPS or localhost, and this page is neither".to_owned());
    }
    if !facts.has_api {
        return Some("this browser has no WebGPU".to_owned());
    }
    let Some(adapter) = &facts.adapter else {
        return Some(match &facts.error {
            Some(error) => format!("WebGPU gave no GPU: {error}"),
            None => "WebGPU is there but gave no GPU (blocked, or no driver)".to_owned(),
        });
    };
    if adapter.is_fallback && !allow_software {
        return Some(format!(
            "the only GPU here is {}, a software one that is slower than the CPU",
            adapter.name()
        ));
    }
    NEEDED_LIMITS.iter().find_map(|&(limit, needed, what)| {
        let found = adapter.limits.get(limit).copied().unwrap_or(0.0);
        (found < needed).then(|| format!("`{limit}` is {found}, {needed} is needed: {what}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> GpuFacts {
        let limits = NEEDED_LIMITS
            .iter()
            .map(|&(name, least, _)| (name.to_owned(), least));
        GpuFacts {
            secure: true,
            has_api: true,
            adapter: Some(AdapterFacts {
                vendor: "acme".to_owned(),
                limits: limits.collect(),
                ..AdapterFacts::default()
            }),
            error: None,
        }
    }

    fn change(edit: impl FnOnce(&mut AdapterFacts)) -> GpuFacts {
        let mut facts = good();
        facts.adapter.as_mut().map(edit);
        facts
    }

    #[test]
    fn a_good_gpu_is_used() {
        let choice = choose(&good(), Wish::Auto, false).unwrap();
        assert!(choice.webgpu && !choice.software, "{choice:?}");
        assert_eq!(choice.why, "WebGPU on acme");
    }

    #[test]
    fn every_obstacle_falls_back_with_its_reason_and_fails_where_webgpu_was_insisted_on() {
        let cases = [
            (
                GpuFacts {
                    secure: false,
                    ..good()
                },
                "HTTPS",
            ),
            (
                GpuFacts {
                    has_api: false,
                    ..good()
                },
                "no WebGPU",
            ),
            (
                GpuFacts {
                    adapter: None,
                    ..good()
                },
                "gave no GPU",
            ),
            (
                GpuFacts {
                    adapter: None,
                    error: Some("boom".to_owned()),
                    ..good()
                },
                "boom",
            ),
            (change(|adapter| adapter.is_fallback = true), "software"),
            (
                change(|adapter| {
                    adapter.limits.insert("maxBufferSize".to_owned(), 1e6);
                }),
                "maxBufferSize",
            ),
            (
                change(|adapter| {
                    adapter.limits.remove("maxComputeInvocationsPerWorkgroup");
                }),
                "maxComputeInvocationsPerWorkgroup",
            ),
        ];
        for (facts, reason) in cases {
            let choice = choose(&facts, Wish::Auto, false).unwrap();
            assert!(
                !choice.webgpu && choice.why.contains(reason),
                "{reason}: {choice:?}"
            );
            let error = choose(&facts, Wish::WebGpu, false).unwrap_err();
            assert_eq!(error.code(), "device-unavailable", "{reason}: {error}");
            assert!(error.to_string().contains(reason), "{reason}: {error}");
        }
    }

    #[test]
    fn a_software_gpu_is_used_only_when_allowed() {
        let facts = change(|adapter| adapter.is_fallback = true);
        assert!(!choose(&facts, Wish::Auto, false).unwrap().webgpu);
        let choice = choose(&facts, Wish::Auto, true).unwrap();
        assert!(choice.webgpu && choice.software, "{choice:?}");
    }

    #[test]
    fn the_cpu_is_used_when_asked_for() {
        assert!(!choose(&good(), Wish::Cpu, true).unwrap().webgpu);
    }
}
