//! [`Put`] and [`Take`]: numbers and texts as bytes of a checkpoint. Numbers are little-endian; a text follows its length.

use std::time::Duration;

/// Writes to the end.
pub(crate) trait Put {
    fn put_u8(&mut self, number: u8);
    fn put_u32(&mut self, number: u32);
    fn put_u64(&mut self, number: u64);
    fn put_i128(&mut self, number: i128);
    fn put_f64(&mut self, number: f64);
    fn put_text(&mut self, text: &[u8]);

    /// In nanoseconds, as far as 64 bits reach.
    fn put_duration(&mut self, duration: Duration) {
        self.put_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, number: u8) {
        self.push(number);
    }

    fn put_u32(&mut self, number: u32) {
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_u64(&mut self, number: u64) {
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_i128(&mut self, number: i128) {
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_f64(&mut self, number: f64) {
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_text(&mut self, text: &[u8]) {
        self.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.extend_from_slice(text);
    }
}

/// Reads from the front. `None`: the bytes end before.
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i128(&mut self) -> Option<i128> {
        self.array().map(i128::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    pub(crate) fn duration(&mut self) -> Option<Duration> {
        self.u64().map(Duration::from_nanos)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
