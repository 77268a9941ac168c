//! Sections of the program's own, read through serde with the place of every mistake.

use crate::error::ConfigError;
use crate::key::{KeyPath, normal};
use crate::mistake::Mistake;
use crate::node::{Entry, Node, NodeValue};
use crate::toml_source::read_value;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

/// Reads a section as `T`.
pub(crate) fn read<T: DeserializeOwned>(node: &Node, path: KeyPath) -> Result<T, ConfigError> {
    let reader = Reader {
        node,
        path: path.clone(),
        siblings: &[],
    };
    T::deserialize(reader).map_err(|mistake| mistake.into_error(node, &path))
}

/// A node as serde reads it. Text from variables becomes whatever the program's type asks for.
struct Reader<'a> {
    node: &'a Node,
    path: KeyPath,
    /// The fields of the struct that this is a field of.
    siblings: &'static [&'static str],
}

impl Reader<'_> {
    /// Text from outside a file.
    fn loose(&self) -> Option<&str> {
        match &self.node.value {
            NodeValue::Loose(text) => Some(text),
            _ => None,
        }
    }

    fn table<'de, V: Visitor<'de>>(
        &self,
        entries: &[Entry],
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_map(Table {
            entries: entries.iter(),
            value: None,
            path: &self.path,
            fields,
        })
    }

    /// Reads what the value itself says it is.
    fn any<'de, V: Visitor<'de>>(
        &self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.node.value {
            NodeValue::Text(text) | NodeValue::Time(text) => visitor.visit_str(text),
            NodeValue::Loose(text) => match read_value(text, &self.node.origin) {
                Some(node) => Reader {
                    node: &node,
                    path: self.path.clone(),
                    siblings: &[],
                }
                .any(fields, visitor),
                None => visitor.visit_str(text),
            },
            NodeValue::Integer(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => visitor.visit_i64(number),
                (_, Ok(number)) => visitor.visit_u64(number),
                _ => visitor.visit_i128(*number),
            },
            NodeValue::Number(number) => visitor.visit_f64(*number),
            NodeValue::Switch(on) => visitor.visit_bool(*on),
            NodeValue::Null => visitor.visit_unit(),
            NodeValue::List(items) => visitor.visit_seq(List {
                items: items.iter(),
                path: &self.path,
            }),
            NodeValue::Table(entries) => self.table(entries, fields, visitor),
        }
    }

    /// A list; in a variable also words between commas.
    fn list<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Mistake> {
        match self.loose() {
            Some(text) if read_value(text, &self.node.origin).is_none_or(|node| !is_list(&node)) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                let word =
                    |word: &str| Node::new(NodeValue::Loose(word.to_owned()), self.node.origin.clone());
                let items: Vec<_> = words.map(word).collect();
                visitor.visit_seq(List {
                    items: items.iter(),
                    path: &self.path,
                })
            }
            _ => self.any(&[], visitor),
        }
    }

    fn choice<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Mistake> {
        match &self.node.value {
            NodeValue::Table(entries) => visitor.visit_enum(MapAccessDeserializer::new(Table {
                entries: entries.iter(),
                value: None,
                path: &self.path,
                fields: &[],
            })),
            NodeValue::Loose(text) => match read_value(text, &self.node.origin) {
                Some(node) => Reader {
                    node: &node,
                    path: self.path.clone(),
                    siblings: &[],
                }
                .choice(visitor),
                None => visitor.visit_enum(StrDeserializer::<Mistake>::new(text)),
            },
            NodeValue::Text(text) => visitor.visit_enum(StrDeserializer::<Mistake>::new(text)),
            _ => self.any(&[], visitor),
        }
    }

    /// Every mistake is placed at the innermost value that it concerns.
    fn placed<T>(&self, result: Result<T, Mistake>) -> Result<T, Mistake> {
        result.map_err(|mistake| mistake.at(self.node, &self.path))
    }
}

fn is_list(node: &Node) -> bool {
    matches!(node.value, NodeValue::List(_))
}

/// Numbers and booleans: text from a variable is parsed as the type that the program asks for.
macro_rules! parsed {
    ($($method:ident: $type:ty => $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            let parsed = self.loose().and_then(|text| text.trim().parse::<$type>().ok());
            self.placed(match parsed {
                Some(value) => visitor.$visit(value),
                None => self.any(&[], visitor),
            })
        }
    )*};
}

/// Text from a variable stays text, also if it looks like a number.
macro_rules! text {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            self.placed(match self.loose() {
                Some(text) => visitor.visit_str(text),
                None => self.any(&[], visitor),
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Mistake;

    parsed! {
        deserialize_bool: bool => visit_bool;
        deserialize_i8: i8 => visit_i8;
        deserialize_i16: i16 => visit_i16;
        deserialize_i32: i32 => visit_i32;
        deserialize_i64: i64 => visit_i64;
        deserialize_i128: i128 => visit_i128;
        deserialize_u8: u8 => visit_u8;
        deserialize_u16: u16 => visit_u16;
        deserialize_u32: u32 => visit_u32;
        deserialize_u64: u64 => visit_u64;
        deserialize_u128: u128 => visit_u128;
        deserialize_f32: f32 => visit_f32;
        deserialize_f64: f64 => visit_f64;
    }

    text! { deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.placed(self.any(&[], visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.node.value {
            NodeValue::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.placed(self.any(&[], visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.placed(self.any(&[], visitor))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.placed(self.list(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.placed(self.list(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.placed(self.list(visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.placed(self.any(&[], visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.placed(self.any(fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.placed(self.choice(visitor))
    }

    /// Serde asks for this when the program's type has no use for a key, which is then most likely mistyped.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Mistake> {
        self.placed(Err(Mistake::Ignored { valid: self.siblings }))
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

struct Table<'a> {
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
    path: &'a KeyPath,
    fields: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Table<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(entry);
        let key = field(entry, self.fields);
        let key: StrDeserializer<'_, Mistake> = key.into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|mistake| mistake.at(&entry.node, &self.path.child(&entry.key)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let entry = self.value.take().expect("serde asks for a value after its key");
        let path = self.path.child(&entry.key);
        let reader = Reader {
            node: &entry.node,
            path: path.clone(),
            siblings: self.fields,
        };
        // What the program's own type refuses after it has read the value is a mistake in this value too.
        seed.deserialize(reader)
            .map_err(|mistake| mistake.at(&entry.node, &path))
    }
}

/// The field that a key means. Variables cannot spell `max-orders` or `maxOrders.eu`, so theirs are compared loosely.
fn field<'a>(entry: &'a Entry, fields: &'static [&'static str]) -> &'a str {
    let outside = !entry.origin.is_file();
    if !outside || fields.contains(&entry.key.as_str()) {
        return &entry.key;
    }
    fields
        .iter()
        .find(|field| normal(field) == normal(&entry.key))
        .copied()
        .unwrap_or(&entry.key)
}

struct List<'a> {
    items: std::slice::Iter<'a, Node>,
    path: &'a KeyPath,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        let Some(node) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(Reader {
            node,
            path: self.path.clone(),
            siblings: &[],
        })
        .map(Some)
        .map_err(|mistake| mistake.at(node, self.path))
    }
}
