//! [`scan`]: one pass over a JSON text that checks all of it and notes where the members of the object stand.

use super::escape::escape;
use super::find::Members;
use super::invalid::{Invalid, Why, invalid};
use super::{Kind, kind, word};

/// How many containers may stand within each other, the outermost counted. As deep as `serde_json` reads, so that what
/// is valid here is valid for those who read it with that.
pub const MAX_DEPTH: usize = 127;

/// Members of an object that a scan notes at most; an object with more is searched the slow way.
const MAX_NOTED: usize = 256;

/// Where a member of an object stands in its text.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub(super) key: u32,
    pub(super) key_end: u32,
    pub(super) value: u32,
    pub(super) value_end: u32,
}

/// What a scan saw.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The object or array begins at this byte; what comes before is white space.
    pub start: usize,
    /// It ends before this byte; what comes behind is white space.
    pub end: usize,
    /// Whether a key, at any depth, has an escape in it. Such a key cannot be compared as bytes.
    pub has_escaped_keys: bool,
    /// Whether two members at the top level have the same name as it is written (escapes are not decoded), or there are
    /// too many to tell. In objects further down it is not looked for.
    pub has_duplicate_keys: bool,
    /// Whether a number is too long or too large to be sure that it fits 64 bits: more than 18 digits, or an exponent
    /// of more than two.
    pub has_wide_numbers: bool,
    /// Whether a newline is among the white space, so that the text is more than one line.
    pub has_newlines: bool,
}

impl Shape {
    /// Whether the members can be found and changed as bytes, and any reader makes the same of the numbers.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.has_plain_keys() && !self.has_wide_numbers
    }

    /// Whether the members at the top level can be told apart by the bytes of their names.
    #[must_use]
    pub const fn has_plain_keys(&self) -> bool {
        !self.has_escaped_keys && !self.has_duplicate_keys
    }
}

/// Checks that the whole of `text` is one JSON value, and notes the members of the outermost object in `members` (which
/// is emptied first; it stays empty for other values, and for an object of more than 256 members).
///
/// # Errors
/// Where and why it is not.
pub fn scan(text: &[u8], members: &mut Vec<Member>) -> Result<Shape, Invalid> {
    members.clear();
    let mut scan = Scan { text, ..Scan::default() };
    scan.space();
    let start = scan.at;
    scan.run(members)?;
    let end = scan.at;
    scan.space();
    if scan.at != text.len() {
        return Err(scan.invalid(Why::Trailing));
    }
    if scan.beyond_ascii & word::TOPS != 0
        && let Err(error) = std::str::from_utf8(text)
    {
        return Err(Invalid { at: error.valid_up_to(), why: Why::Utf8 });
    }
    if members.len() > MAX_NOTED {
        members.clear();
        scan.shape.has_duplicate_keys = true;
    }
    if kind(text) != Kind::Object {
        members.clear();
    }
    Ok(Shape { start, end, ..scan.shape })
}

/// A scan under way.
#[derive(Default)]
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    /// The containers that are open, the innermost in the lowest bit: set for an object.
    open: u128,
    depth: usize,
    /// Every byte of a string so far, or-ed together.
    beyond_ascii: u64,
    /// One bit for each name seen at the top level.
    names: u64,
    shape: Shape,
}

impl Scan<'_> {
    fn run(&mut self, members: &mut Vec<Member>) -> Result<(), Invalid> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.string()?;
                }
                Some(b'{') => {
                    self.open(true)?;
                    if self.peek() != Some(b'}') {
                        self.key(members)?;
                        continue;
                    }
                    self.close();
                }
                Some(b'[') => {
                    self.open(false)?;
                    if self.peek() != Some(b']') {
                        continue;
                    }
                    self.close();
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                Some(_) => return Err(self.invalid(Why::Value)),
                None => return Err(self.invalid(Why::End)),
            }
            if !self.after_value(members)? {
                return Ok(());
            }
        }
    }

    /// Reads on behind a value; says whether another follows.
    #[inline(always)]
    fn after_value(&mut self, members: &mut Vec<Member>) -> Result<bool, Invalid> {
        while self.depth > 0 {
            if self.depth == 1
                && let Some(member) = members.last_mut()
            {
                member.value_end = narrow(self.at);
            }
            self.space();
            let in_object = self.open & 1 == 1;
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.space();
                    if in_object {
                        self.key(members)?;
                    }
                    return Ok(true);
                }
                Some(b'}') if in_object => self.close(),
                Some(b']') if !in_object => self.close(),
                Some(_) => return Err(self.invalid(Why::Comma)),
                None => return Err(self.invalid(Why::End)),
            }
        }
        Ok(false)
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Goes to the first byte that is no white space.
    #[inline(always)]
    fn space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r')) = self.peek() {
            self.shape.has_newlines |= byte == b'\n';
            self.at += 1;
        }
    }

    #[inline(always)]
    fn invalid(&self, why: Why) -> Invalid {
        invalid(self.text, self.at, why)
    }

    /// Enters a container, and stops at the first byte in it that is no white space.
    #[inline(always)]
    fn open(&mut self, is_object: bool) -> Result<(), Invalid> {
        if self.depth == MAX_DEPTH {
            return Err(self.invalid(Why::Depth));
        }
        self.depth += 1;
        self.open = (self.open << 1) | u128::from(is_object);
        self.at += 1;
        self.space();
        Ok(())
    }

    #[inline(always)]
    fn close(&mut self) {
        self.depth -= 1;
        self.open >>= 1;
        self.at += 1;
    }

    /// Reads a key and its colon, up to the value.
    #[inline(always)]
    fn key(&mut self, members: &mut Vec<Member>) -> Result<(), Invalid> {
        if self.peek() != Some(b'"') {
            return Err(self.invalid(Why::Key));
        }
        self.at += 1;
        let key = self.at;
        let has_escapes = self.string()?;
        self.shape.has_escaped_keys |= has_escapes;
        let key_end = self.at - 1;
        if self.peek() != Some(b':') {
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.invalid(Why::Colon));
            }
        }
        self.at += 1;
        self.space();
        if self.depth == 1 && members.len() <= MAX_NOTED {
            self.note(key, key_end, members);
        }
        Ok(())
    }

    /// Notes a member of the outermost object, and whether there was one of its name.
    #[inline(always)]
    fn note(&mut self, key: usize, key_end: usize, members: &mut Vec<Member>) {
        let name = &self.text[key..key_end];
        let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
        let mixed =
            name.len().wrapping_mul(7) ^ usize::from(first).wrapping_mul(13) ^ usize::from(last).wrapping_mul(3);
        let bit = 1_u64 << (mixed & 63);
        if self.names & bit != 0 {
            self.shape.has_duplicate_keys |= Members::new(self.text, members).any(|(own, _)| own == name);
        }
        self.names |= bit;
        members.push(Member { key: narrow(key), key_end: narrow(key_end), value: narrow(self.at), value_end: 0 });
    }

    /// Reads a string from behind its opening quote to behind its closing one; says whether it has escapes.
    #[inline(always)]
    fn string(&mut self) -> Result<bool, Invalid> {
        let mut has_escapes = false;
        loop {
            while let Some(eight) = word::load(self.text, self.at) {
                let marks = word::marks_in_string(eight);
                self.beyond_ascii |= eight;
                if marks != 0 {
                    self.at += word::lowest(marks);
                    break;
                }
                self.at += 8;
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.at = escape(self.text, self.at + 1)?;
                }
                Some(byte) if byte < 0x20 => return Err(self.invalid(Why::Control)),
                // Only within eight bytes of the end of the text.
                Some(byte) => {
                    self.beyond_ascii |= u64::from(byte);
                    self.at += 1;
                }
                None => return Err(self.invalid(Why::End)),
            }
        }
    }

    #[inline(always)]
    fn literal(&mut self, word: &[u8]) -> Result<(), Invalid> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        let alike = rest.iter().zip(word).take_while(|(have, want)| have == want).count();
        Err(invalid(self.text, self.at + alike, Why::Value))
    }

    #[inline(always)]
    fn number(&mut self) -> Result<(), Invalid> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leads_with_zero = self.peek() == Some(b'0');
        let whole = self.digits()?;
        if leads_with_zero && whole > 1 {
            self.at -= whole - 1;
            return Err(self.invalid(Why::Number));
        }
        let mut digits = whole;
        if self.peek() == Some(b'.') {
            self.at += 1;
            digits += self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            let exponent = self.digits()?;
            self.shape.has_wide_numbers |= exponent > 2;
        }
        self.shape.has_wide_numbers |= digits > 18;
        Ok(())
    }

    /// Reads digits, at least one; says how many.
    #[inline(always)]
    fn digits(&mut self) -> Result<usize, Invalid> {
        let from = self.at;
        while let Some(eight) = word::load(self.text, self.at) {
            let count = word::digits(eight);
            self.at += count;
            if count < 8 {
                break;
            }
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { Err(self.invalid(Why::Number)) } else { Ok(self.at - from) }
    }
}

/// An offset in a record. Records are far smaller than 4 GiB; one that is not is never searched by these.
#[inline(always)]
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
