//! Values that may be written in more than one way, read by hand so that errors say where they are.

#[cfg(test)]
mod schema;

use crate::config::locate::Path;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Sources: one, a list, or `{ file = "…" }`.
#[derive(Debug)]
pub(in crate::config) enum FileSources {
    Texts(OneOrMany<String>),
    File(String),
}

impl<'de> Deserialize<'de> for FileSources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct InFile {
            file: String,
        }
        struct Sources;
        impl<'de> Visitor<'de> for Sources {
            type Value = FileSources;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a prefix, a list of them, or { file = \"/path\" }")
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(FileSources::Texts(OneOrMany::One(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                let texts = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(FileSources::Texts(OneOrMany::Many(texts)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let InFile { file } = InFile::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FileSources::File(file))
            }
        }
        deserializer.deserialize_any(Sources)
    }
}

/// A text that should be a duration; its own type so that a bare number is told what it lacks.
#[derive(Debug)]
pub(in crate::config) struct DurationText(pub(in crate::config) String);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = DurationText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes such as \"500ms\"")
            }
            fn visit_str<E>(self, text: &str) -> Result<DurationText, E> {
                Ok(DurationText(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// One value, or a list of them.
#[derive(Debug)]
pub(in crate::config) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values, each with the path it stands at.
    pub(in crate::config) fn entries(&self, path: &Path) -> Vec<(Path, &T)> {
        match self {
            Self::One(value) => vec![(path.clone(), value)],
            Self::Many(values) => {
                values.iter().enumerate().map(|(i, value)| (path.index(i), value)).collect()
            }
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    // By hand, because serde's untagged enums lose where in the file an error is.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(text)).map(OneOrMany::One)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::I64Deserializer::new(number)).map(OneOrMany::One)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMany::Many)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OneOrMany::One)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}
