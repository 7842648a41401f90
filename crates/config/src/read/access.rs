//! The entries of lists and tables, and the variants of enums, for [`NodeReader`].

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::Notes;
use super::error::ReadError;
use super::node::NodeReader;
use super::words::joined;
use crate::tree::{Entry, Node};

/// Reads the values of a list.
pub(super) struct ListReader<'a, 'n> {
    list: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: String,
    notes: &'n Notes<'a>,
}

impl<'a, 'n> ListReader<'a, 'n> {
    pub(super) fn new(list: &'a [Node], reader: &NodeReader<'a, 'n>) -> Self {
        Self { list: list.iter().enumerate(), path: reader.path.clone(), notes: reader.notes }
    }
}

impl<'a> SeqAccess<'a> for ListReader<'a, '_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let notes = self.notes;
        let Some((index, node)) = self.list.find(|(_, node)| !notes.is_left_out(node)) else { return Ok(None) };
        let path = format!("{}[{index}]", self.path);
        read_into(seed, NodeReader { node, path, notes }).map(Some)
    }
}

/// Reads the entries of a table.
pub(super) struct EntryReader<'a, 'n> {
    entries: std::vec::IntoIter<&'a Entry>,
    next: Option<&'a Entry>,
    path: String,
    notes: &'n Notes<'a>,
}

impl<'a, 'n> EntryReader<'a, 'n> {
    pub(super) fn new(entries: Vec<&'a Entry>, reader: &NodeReader<'a, 'n>) -> Self {
        Self { entries: entries.into_iter(), next: None, path: reader.path.clone(), notes: reader.notes }
    }
}

impl<'a> MapAccess<'a> for EntryReader<'a, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.next = self.entries.next();
        let Some(entry) = self.next else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(&entry.key.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(entry) = self.next else { return Err(ReadError::custom("a value was asked for before its key")) };
        let path = joined(&self.path, &entry.key.name);
        read_into(seed, NodeReader { node: &entry.node, path, notes: self.notes })
    }
}

/// Reads one value, and notes it where that fails: an error may be made behind the deserializer, too.
fn read_into<'a, T: DeserializeSeed<'a>>(seed: T, reader: NodeReader<'a, '_>) -> Result<T::Value, ReadError> {
    let again = NodeReader { node: reader.node, path: reader.path.clone(), notes: reader.notes };
    let result = seed.deserialize(reader);
    again.notes.note(&again, result)
}

/// Reads the variant of an enum: a word, perhaps with content.
pub(super) struct VariantReader<'a, 'n> {
    pub(super) word: &'a str,
    pub(super) content: Option<NodeReader<'a, 'n>>,
}

impl<'a, 'n> EnumAccess<'a> for VariantReader<'a, 'n> {
    type Error = ReadError;
    type Variant = Content<'a, 'n>;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self::Variant), ReadError> {
        let word = seed.deserialize(StrDeserializer::<ReadError>::new(self.word))?;
        Ok((word, Content(self.content)))
    }
}

/// What stands behind the word of a variant.
pub(super) struct Content<'a, 'n>(Option<NodeReader<'a, 'n>>);

impl<'a, 'n> Content<'a, 'n> {
    fn wanted(self) -> Result<NodeReader<'a, 'n>, ReadError> {
        self.0.ok_or_else(|| ReadError::custom("this word takes a value: `word: value`"))
    }
}

impl<'a> VariantAccess<'a> for Content<'a, '_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.0 {
            None => Ok(()),
            Some(_) => Err(ReadError::custom("this word takes no value")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, ReadError> {
        read_into(seed, self.wanted()?)
    }

    fn tuple_variant<V: Visitor<'a>>(self, _len: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.wanted()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.wanted()?.deserialize_struct("", fields, visitor)
    }
}
