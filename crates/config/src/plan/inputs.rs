//! Names in `inputs`: of a component, of one of its outputs (`route.errors`), or with wildcards (`app*`).

/// Whether `pattern` holds a wildcard: `*`, `?` or `[`.
pub(super) fn is_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// Whether a name fits a pattern: `*` stands for any text, `?` for one character, `[abc]`, `[a-z]` and `[!a]` for one of
/// them. Quadratic at worst; an unclosed bracket stands for itself.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(len) = one(&pattern[p..], name[n]) {
            p += len;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, n) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of the pattern the character takes.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let Some(end) = pattern.iter().skip(2).position(|found| *found == ']').map(|at| at + 2) else {
                return (c == '[').then_some(1);
            };
            let (inside, negated) = match pattern[1] {
                '!' => (&pattern[2..end], true),
                _ => (&pattern[1..end], false),
            };
            (class(inside, c) != negated).then_some(end + 1)
        }
        first => (*first == c).then_some(1),
    }
}

fn class(inside: &[char], c: char) -> bool {
    let ranges = inside.windows(3).any(|window| window[1] == '-' && (window[0]..=window[2]).contains(&c));
    ranges || inside.contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, fitting) in [
            ("app*", "app_1", true),
            ("app*", "my_app", false),
            ("*", "anything", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.errors", "route.errors", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("app[12]", "app2", true),
            ("app[1-3]x", "app3x", true),
            ("app[!1]", "app1", false),
            ("app[", "app[", true),
        ] {
            assert_eq!(fits(pattern, name), fitting, "{pattern} {name}");
        }
    }
}
