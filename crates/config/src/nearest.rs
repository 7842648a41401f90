//! The nearest known word to one that nobody knows.

/// The word of `known` that `word` is most likely meant to be: at most a third of its letters differ, counting a swap of
/// neighbours as one (optimal string alignment; Damerau 1964), or it differs in case and separators only. The first of
/// several that are equally near. Linear in the number of words and quadratic in their length; words of more than 64
/// bytes are near to nothing.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        if word.len() > 64 || candidate.len() > 64 || candidate == word {
            continue;
        }
        let distance = if folded(word) == folded(candidate) { 0 } else { distance(word, candidate) };
        let allowed = (word.chars().count().max(candidate.chars().count()) / 3).max(1);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, word)| word)
}

fn folded(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// "did you mean `x`?", where there is such a word.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|word| format!("did you mean `{word}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_near_and_other_words_are_not() {
        let known = ["inputs", "type", "max_size", "when_full", "encoding"];
        for (word, meant) in [
            ("input", Some("inputs")),
            ("tpye", Some("type")),
            ("maxSize", Some("max_size")),
            ("max-size", Some("max_size")),
            ("whenful", Some("when_full")),
            ("encodng", Some("encoding")),
            ("path", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
