//! [`NodeReader`]: a deserializer over one value of the tree.

use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::Notes;
use super::access::{EntryReader, ListReader, VariantReader};
use super::error::ReadError;
use crate::tree::{Node, Value, resolve_plain};

/// A deserializer over one value of the tree.
pub struct NodeReader<'a, 'n> {
    pub(super) node: &'a Node,
    /// The keys that lead here, joined by dots; empty for the root.
    pub(super) path: String,
    pub(super) notes: &'n Notes<'a>,
}

impl<'a, 'n> NodeReader<'a, 'n> {
    pub(super) fn root(node: &'a Node, notes: &'n Notes<'a>) -> Self {
        Self { node, path: String::new(), notes }
    }

    /// The value as it is, or as what a reference gave looks like.
    fn visit<V: Visitor<'a>>(&self, value: &'a Value, visitor: V) -> Result<V::Value, ReadError> {
        match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visit_int(*value, visitor),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => match resolve_plain(&text.string).filter(|_| text.plain && text.referred) {
                Some(Value::Bool(value)) => visitor.visit_bool(value),
                Some(Value::Int(value)) => visit_int(value, visitor),
                Some(Value::Float(value)) => visitor.visit_f64(value),
                _ => visitor.visit_borrowed_str(&text.string),
            },
            Value::List(list) => visitor.visit_seq(ListReader::new(list, self)),
            Value::Table(table) => {
                let entries = self.notes.entries(table, &self.path, None);
                visitor.visit_map(EntryReader::new(entries, self))
            }
        }
    }

    /// A number or a truth value, also out of text that a reference gave.
    fn visit_scalar<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let referred = match &self.node.value {
            Value::Text(text) if text.referred => resolve_plain(text.string.trim()),
            _ => None,
        };
        let result = match referred {
            Some(Value::Bool(value)) => visitor.visit_bool(value),
            Some(Value::Int(value)) => visit_int(value, visitor),
            Some(Value::Float(value)) => visitor.visit_f64(value),
            _ => self.visit(&self.node.value, visitor),
        };
        self.notes.note(&self, result)
    }

    /// Text, also where what a reference gave looks like a number.
    fn visit_text<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::Text(text) => visitor.visit_borrowed_str(&text.string),
            value => self.visit(value, visitor),
        };
        self.notes.note(&self, result)
    }
}

fn visit_int<'de, V: Visitor<'de>>(value: i128, visitor: V) -> Result<V::Value, ReadError> {
    if let Ok(value) = u64::try_from(value) {
        visitor.visit_u64(value)
    } else if let Ok(value) = i64::try_from(value) {
        visitor.visit_i64(value)
    } else {
        visitor.visit_i128(value)
    }
}

macro_rules! scalars {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.visit_scalar(visitor)
        })*
    };
}

impl<'a> Deserializer<'a> for NodeReader<'a, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = self.visit(&self.node.value, visitor);
        self.notes.note(&self, result)
    }

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_text(visitor)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_text(visitor)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_text(visitor)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.visit_text(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::Table(table) => {
                let entries = self.notes.entries(table, &self.path, Some(fields));
                visitor.visit_map(EntryReader::new(entries, &self))
            }
            value => self.visit(value, visitor),
        };
        self.notes.note(&self, result)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::Text(text) => visitor.visit_enum(VariantReader { word: &text.string, content: None }),
            Value::Table(table) if table.entries.len() == 1 => {
                let entry = &table.entries[0];
                let path = super::words::joined(&self.path, &entry.key.name);
                let content = NodeReader { node: &entry.node, path, notes: self.notes };
                visitor.visit_enum(VariantReader { word: &entry.key.name, content: Some(content) })
            }
            _ => Err(ReadError::WrongType { expected: super::words::one_of(variants), found: String::new() }),
        };
        // An erased visitor keeps the text of its error only.
        let result = result.map_err(|error| match &self.node.value {
            Value::Text(text) if !variants.contains(&text.string.as_str()) => {
                ReadError::UnknownWord { word: text.string.clone(), expected: variants }
            }
            _ => error,
        });
        self.notes.note(&self, result)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { <V: Visitor<'a>> bytes byte_buf unit unit_struct seq tuple tuple_struct map }
}
