//! [`Dice`]: choices out of the bytes that a fuzzer gives, so that each change of a byte changes one choice.

/// What is left of the bytes. When they are used up, every choice is the first.
pub(crate) struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    /// Choices out of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `limit` (at least 1), which is at most 65536.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let mut number = usize::from(self.byte());
        if limit > 256 {
            number = number << 8 | usize::from(self.byte());
        }
        number % limit
    }

    /// One of these.
    #[allow(dead_code, reason = "not every target picks")]
    pub(crate) fn pick<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len())]
    }

    /// Whether all bytes were used.
    #[allow(dead_code, reason = "not every target asks")]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    #[allow(dead_code, reason = "not every target has a rest")]
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}
