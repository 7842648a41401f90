//! [`drive`]: what the tests run of a fuzz target: the same inputs each time, so that a failure is one for everybody.

use std::path::Path;

/// Runs `check` on every file of `fuzz/corpus/<target>`, on `count` texts made of parts of those, and on `count` random
/// ones.
pub(crate) fn drive(target: &str, count: u64, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut names: Vec<_> = std::fs::read_dir(&folder).expect("the corpus is there").flatten().collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    let corpus: Vec<Vec<u8>> = names.iter().map(|entry| std::fs::read(entry.path()).expect("it can be read")).collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    for (entry, bytes) in names.iter().zip(&corpus) {
        run(&entry.file_name().to_string_lossy(), bytes, &check);
    }
    for seed in 1..=count {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        run(&format!("mutilated, seed {seed}"), &random.mutilated(&corpus), &check);
        let length = random.below(200);
        let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        run(&format!("random, seed {seed}"), &bytes, &check);
    }
}

/// Runs the check; where it panics, the input has been printed.
fn run(name: &str, bytes: &[u8], check: &impl Fn(&[u8])) {
    let told = Told { name, bytes };
    check(bytes);
    drop(told);
}

/// Says which input it was, where a check panics.
struct Told<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("input: {}: {:?}", self.name, String::from_utf8_lossy(self.bytes));
        }
    }
}

/// xorshift64*, Vigna 2016.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }

    /// One text of the corpus with a few bytes changed, cut out or put in, or with the end of another.
    fn mutilated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = self.byte(),
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 => bytes.insert(at, self.byte()),
                3 => drop(bytes.drain(at..(at + self.below(20)).min(bytes.len()))),
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[self.below(other.len() + 1)..]);
                }
            }
        }
        bytes
    }
}
