//! Passes that are under way while the host does other things: on a GPU the pass after the newest
//! token starts before the host knows that token.

use std::future::Future;
use std::pin::Pin;

use burn::tensor::{Int, Tensor};

use super::stream::Taking;
use crate::error::Result;
use crate::hooks::Stamp;
use crate::sample::Answer;

/// A pass under way.
#[derive(Debug)]
pub(super) struct Pending {
    /// Which streams take part.
    pub(super) taking: Taking,
    pub(super) answer: Answering,
}

pub(super) enum Answering {
    /// The logits, one row for each lane.
    Host(Tensor<2>),
    /// The chosen ids, one for each lane, and the answer that is being read back.
    Gpu {
        ids: Tensor<1, Int>,
        answer: Pin<Box<dyn Future<Output = Result<Answer>>>>,
    },
}

impl Answering {
    pub(super) fn on_gpu(
        (ids, answer): (
            Tensor<1, Int>,
            impl Future<Output = Result<Answer>> + 'static,
        ),
    ) -> Self {
        let answer = Box::pin(answer);
        Self::Gpu { ids, answer }
    }
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host(_) => "Host",
            Self::Gpu { .. } => "Gpu",
        })
    }
}

/// A pass after a token that is not known yet.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) pending: Pending,
    /// What steers it.
    pub(super) stamp: Stamp,
}
