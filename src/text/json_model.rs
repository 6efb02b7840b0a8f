//! The vocabulary of `tokenizer.json`, read as it comes: a BPE goes straight into [`Pieces`], where the
//! library would first make a tree of JSON values of it, 300 MB for one like Gemma's.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::{BPE, Vocab};

use super::model::Vocabulary;
use super::pieces::{Pieces, Spelling, Texts};

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Model)
    }
}

struct Model;

impl<'de> Visitor<'de> for Model {
    type Value = Vocabulary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a model with its type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
        let mut read = Map::new();
        // The type comes first in what the library writes.
        if let Some(key) = map.next_key::<String>()? {
            let value: Value = map.next_value()?;
            if key == "type" && value == "BPE" {
                return Bpe::read(map)?.vocabulary().map_err(A::Error::custom);
            }
            read.insert(key, value);
        }
        while let Some((key, value)) = map.next_entry()? {
            read.insert(key, value);
        }
        let model = ModelWrapper::deserialize(Value::Object(read));
        let model = model.map_err(A::Error::custom)?;
        Ok(Vocabulary::Library(Box::new(model)))
    }
}

/// A BPE as `tokenizer.json` has it.
#[derive(Default)]
struct Bpe {
    dropout: Option<f32>,
    unknown: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    fuse_unknown: bool,
    bytes: bool,
    whole_words: bool,
    vocab: Option<Tokens>,
    merges: Option<Merges>,
}

impl Bpe {
    fn read<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        fn flag<'de, A: MapAccess<'de>>(map: &mut A) -> Result<bool, A::Error> {
            Ok(map.next_value::<Option<bool>>()?.unwrap_or_default())
        }
        let mut bpe = Self::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "dropout" => bpe.dropout = map.next_value()?,
                "unk_token" => bpe.unknown = map.next_value()?,
                "continuing_subword_prefix" => bpe.prefix = map.next_value()?,
                "end_of_word_suffix" => bpe.suffix = map.next_value()?,
                "fuse_unk" => bpe.fuse_unknown = flag(&mut map)?,
                "byte_fallback" => bpe.bytes = flag(&mut map)?,
                "ignore_merges" => bpe.whole_words = flag(&mut map)?,
                "vocab" => bpe.vocab = Some(map.next_value()?),
                "merges" => bpe.merges = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(bpe)
    }

    fn vocabulary(self) -> Result<Vocabulary, String> {
        let (Some(vocab), Some(merges)) = (&self.vocab, &self.merges) else {
            return Err("its model has no `vocab` or no `merges`".into());
        };
        let is_plain = self.dropout.is_none_or(|share| share == 0.0)
            && [&self.prefix, &self.suffix]
                .iter()
                .all(|text| text.as_deref().is_none_or(str::is_empty));
        if is_plain
            && let Some(texts) = vocab.in_order()
            && let Ok(pieces) = self.pieces(texts, merges)
        {
            return Ok(Vocabulary::Pieces(pieces));
        }
        self.library(vocab, merges)
    }

    /// An error where this is no BPE for [`Pieces`]; the library decides then.
    fn pieces(&self, texts: Texts, merges: &Merges) -> Result<Pieces, String> {
        let unknown = match &self.unknown {
            Some(token) => {
                let ids = 0..texts.len() as u32;
                let id = ids.into_iter().find(|id| texts.get(*id) == Some(token));
                Some(id.ok_or("the unknown token is none of the tokens")?)
            }
            None => None,
        };
        let spelling = Spelling {
            whole_words: self.whole_words,
            bytes: self.bytes,
            unknown,
            fuse_unknown: self.fuse_unknown,
        };
        Pieces::with_merges(texts, merges.pairs(), spelling)
    }

    fn library(&self, vocab: &Tokens, merges: &Merges) -> Result<Vocabulary, String> {
        let texts = (0..).zip(&vocab.ids);
        let ids = texts.filter_map(|(index, id)| Some((vocab.texts.get(index)?.to_owned(), *id)));
        let pairs = merges.pairs().flatten();
        let pairs = pairs.map(|(left, right)| (left.to_owned(), right.to_owned()));
        let mut builder = BPE::builder()
            .vocab_and_merges(ids.collect::<Vocab>(), pairs.collect())
            .fuse_unk(self.fuse_unknown)
            .byte_fallback(self.bytes)
            .ignore_merges(self.whole_words);
        if let Some(share) = self.dropout {
            builder = builder.dropout(share);
        }
        if let Some(token) = &self.unknown {
            builder = builder.unk_token(token.clone());
        }
        if let Some(prefix) = &self.prefix {
            builder = builder.continuing_subword_prefix(prefix.clone());
        }
        if let Some(suffix) = &self.suffix {
            builder = builder.end_of_word_suffix(suffix.clone());
        }
        let model = builder.build().map_err(|error| error.to_string())?;
        Ok(Vocabulary::Library(Box::new(ModelWrapper::BPE(model))))
    }
}

/// Tokens with their ids, in the order of the file.
#[derive(Default)]
struct Tokens {
    texts: Texts,
    ids: Vec<u32>,
}

impl Tokens {
    /// The tokens by their ids, if those are 0, 1, 2 and so on.
    fn in_order(&self) -> Option<Texts> {
        const NONE: u32 = u32::MAX;
        let mut indices = vec![NONE; self.ids.len()];
        for (index, id) in (0..).zip(&self.ids) {
            *indices.get_mut(*id as usize)? = index;
        }
        let mut texts = Texts::with_capacity(self.texts.bytes(), indices.len());
        for index in indices {
            texts.push(self.texts.get(index)?).ok()?;
        }
        Some(texts)
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Tokens;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tokens, A::Error> {
                let mut tokens = Tokens::default();
                while let Some((token, id)) = map.next_entry::<String, u32>()? {
                    tokens.texts.push(&token).map_err(A::Error::custom)?;
                    tokens.ids.push(id);
                }
                Ok(tokens)
            }
        }

        deserializer.deserialize_map(Items)
    }
}

/// The two sides of each merge, one after the other.
#[derive(Default)]
struct Merges(Texts);

impl Merges {
    fn pairs(&self) -> impl ExactSizeIterator<Item = Option<(&str, &str)>> {
        (0..self.0.len() / 2).map(|index| {
            let left = 2 * index as u32;
            Some((self.0.get(left)?, self.0.get(left + 1)?))
        })
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Merges;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Merges, A::Error> {
                let mut merges = Merges::default();
                while let Some(Pair(left, right)) = items.next_element()? {
                    merges.0.push(&left).map_err(A::Error::custom)?;
                    merges.0.push(&right).map_err(A::Error::custom)?;
                }
                Ok(merges)
            }
        }

        deserializer.deserialize_seq(Items)
    }
}

/// One merge: a list of two, or, in older files, a text with a space between them.
struct Pair(String, String);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Item;

        impl<'de> Visitor<'de> for Item {
            type Value = Pair;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge of two tokens")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Pair, E> {
                match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        Ok(Pair(left.into(), right.into()))
                    }
                    _ => Err(E::custom(format!("the merge {text:?} is not two tokens"))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Pair, A::Error> {
                let both = (items.next_element()?, items.next_element()?);
                let (Some(left), Some(right), None) =
                    (both.0, both.1, items.next_element::<IgnoredAny>()?)
                else {
                    return Err(A::Error::custom("a merge is not two tokens"));
                };
                Ok(Pair(left, right))
            }
        }

        deserializer.deserialize_any(Item)
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::Model;
    use tokenizers::models::ModelWrapper;

    use super::Vocabulary;

    const VOCAB: &str =
        r#""vocab": {"a": 1, "<unk>": 0, "b": 2, "ab": 3, "<0xC3>": 4, "<0xA9>": 5, "aab": 6}"#;
    const MERGES: &str = r#""merges": [["a", "b"], ["a", "ab"]]"#;

    /// Every model reads as the library reads it; most of them without it.
    #[test]
    fn models_equal_the_library_s() {
        let bpe = |more: &str| format!(r#"{{"type": "BPE", {more} {VOCAB}, {MERGES}}}"#);
        for (json, is_pieces) in [
            (bpe(""), true),
            (
                bpe(r#""dropout": null, "unk_token": null, "fuse_unk": null,"#),
                true,
            ),
            (
                bpe(r#""dropout": 0.0, "continuing_subword_prefix": "", "new": [1],"#),
                true,
            ),
            (bpe(r#""unk_token": "<unk>","#), true),
            (bpe(r#""unk_token": "<unk>", "fuse_unk": true,"#), true),
            (
                bpe(r#""unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,"#),
                true,
            ),
            (bpe(r#""ignore_merges": true,"#), true),
            (
                bpe("").replace(r#"["a", "b"], ["a", "ab"]"#, r#""a b", "a ab""#),
                true,
            ),
            // Not these.
            (bpe(r#""end_of_word_suffix": "b","#), false),
            (bpe("").replace(r#""aab": 6"#, r#""aab": 7"#), false),
            (format!(r#"{{{VOCAB}, {MERGES}, "type": "BPE"}}"#), false),
            (
                format!(r#"{{"type": "WordLevel", {VOCAB}, "unk_token": "<unk>"}}"#),
                false,
            ),
        ] {
            let found: Vocabulary = serde_json::from_str(&json).expect(&json);
            let library: Option<ModelWrapper> = serde_json::from_str(&json).ok();
            assert_eq!(matches!(found, Vocabulary::Pieces(_)), is_pieces, "{json}");
            // The library stumbles over a key that it does not know.
            let Some(library) = library else {
                assert!(json.contains("new"), "{json}");
                continue;
            };
            for text in [
                "", "a", "ab", "aab", "abaab", "xay", "xxéyab", "é", "b<unk>",
            ] {
                let expected = library.tokenize(text).expect("the library splits");
                assert_eq!(
                    found.tokenize(text).expect("splits"),
                    expected,
                    "{text}, {json}"
                );
            }
        }
    }

    #[test]
    fn models_that_are_not_whole_are_refused() {
        for json in [
            format!(r#"{{"type": "BPE", {VOCAB}}}"#),
            format!(r#"{{"type": "BPE", {MERGES}}}"#),
            format!(r#"{{"type": "BPE", {VOCAB}, "merges": ["a"]}}"#),
            format!(r#"{{"type": "BPE", {VOCAB}, "merges": [["a", "b", "a"]]}}"#),
            format!(r#"{{"type": "BPE", {VOCAB}, "merges": [["a", "z"]]}}"#),
            format!(r#"{{"type": "BPE", {VOCAB}, "merges": 7}}"#),
            format!(r#"{{"type": "BPE", "vocab": {{"a": -1}}, {MERGES}}}"#),
            "{}".into(),
            "7".into(),
        ] {
            let found: Result<Vocabulary, _> = serde_json::from_str(&json);
            assert!(found.is_err(), "{json}");
        }
    }
}
