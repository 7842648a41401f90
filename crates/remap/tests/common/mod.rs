//! Random programs and records, by a seed.

/// A small generator of numbers (xorshift64*), so that a seed is a case for ever.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap_or(0) % bound
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const KEYS: &[&str] = &["a", "b", "c", "level", "n", "x y", "é", "timestamp", "message"];
const ESCAPED_KEYS: &[&str] = &["\\u0061", "\\u006c\\u0065vel", "x\\u0020y", "\\n", "\\ud83d\\ude00"];
const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "5",
    "5.0",
    "-5",
    "1e2",
    "1E-2",
    "1.10",
    "0.1",
    "1e308",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    r#""""#,
    r#""debug""#,
    r#""d\u0065bug""#,
    r#""info""#,
    r#""a\"b\\c\/d""#,
    r#""é😀""#,
    r#""\ud83d\ude00""#,
    r#""tab\tnew\nline""#,
    r#""5""#,
    r#""\u0000""#,
    "[]",
    "{}",
];
const INVALID_VALUES: &[&str] =
    &["1e400", "-1e999", r#""\ud800""#, r#""\udc00x""#, r#""\q""#, "01", "1.", "+1", "nul", "NaN", "'a'", "\"\t\"", ""];

/// The text of a JSON value, three levels deep at most.
fn value(dice: &mut Dice, depth: usize) -> String {
    match dice.below(if depth == 0 { 6 } else { 9 }) {
        0..6 => dice.pick(SCALARS).to_string(),
        6 => {
            let items: Vec<_> = (0..dice.below(4)).map(|_| value(dice, depth - 1)).collect();
            format!("[{}]", items.join(if dice.one_in(3) { " , " } else { "," }))
        }
        _ => object(dice, depth - 1),
    }
}

/// The text of an object. Its keys may have escapes or come twice.
pub(crate) fn object(dice: &mut Dice, depth: usize) -> String {
    let mut members = Vec::new();
    let mut used: Vec<&str> = Vec::new();
    for _ in 0..dice.below(6) {
        let key = if dice.one_in(25) { dice.pick(ESCAPED_KEYS) } else { dice.pick(KEYS) };
        if used.contains(&key) && !dice.one_in(8) {
            continue;
        }
        used.push(key);
        let space = if dice.one_in(6) { " " } else { "" };
        members.push(format!("{space}\"{key}\"{space}:{space}{}", value(dice, depth)));
    }
    format!("{{{}}}", members.join(","))
}

/// The bytes of a message: an object most of the time, or nearly.
pub(crate) fn message(dice: &mut Dice) -> Vec<u8> {
    let mut text = object(dice, 3).into_bytes();
    match dice.below(14) {
        0 => text = value(dice, 3).into_bytes(),
        1 => text.truncate(dice.below(text.len() + 1)),
        2 => {
            let at = dice.below(text.len());
            text[at] = u8::try_from(dice.below(256)).unwrap_or(0);
        }
        3 => text = format!("{{\"a\":{}}}", dice.pick(INVALID_VALUES)).into_bytes(),
        4 => {
            let depth = 120 + dice.below(12);
            text = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).into_bytes();
        }
        5 => text.splice(0..0, *b"\xEF\xBB\xBF").for_each(drop),
        6 => text.extend_from_slice(dice.pick(&[" ", "\t\r", " x", "{}", "\0"]).as_bytes()),
        7 => text.splice(0..0, *b"  ").for_each(drop),
        8 => text = dice.pick(&["", "plain text", "debug", "a \u{e9}", "null"]).as_bytes().to_vec(),
        9 => text.extend_from_slice(b"\xff\xfe"),
        _ => {}
    }
    text
}

const PATHS: &[&str] = &[
    ".a",
    ".b",
    ".c",
    ".level",
    ".n",
    ".a.b",
    ".b.c",
    ".a.b.c",
    ".\"x y\"",
    ".\"é\"",
    ".message",
    ".timestamp",
    ".host",
    ".new",
    ".new.deep",
];
const LITERALS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "5",
    "-5",
    "5.0",
    "1.5",
    "9007199254740993",
    "9223372036854775807",
    r#""""#,
    r#""debug""#,
    r#""a\"b\\c""#,
    r#""é😀""#,
    "s'raw \\n'",
    r#""tab\t""#,
    r#""5""#,
];

/// A condition of the forms that are lowered.
pub(crate) fn condition(dice: &mut Dice, depth: usize) -> String {
    if depth > 0 && dice.one_in(3) {
        let left = condition(dice, depth - 1);
        return match dice.below(4) {
            0 => format!("!({left})"),
            1 => format!("({left}) && ({})", condition(dice, depth - 1)),
            2 => format!("({left}) || ({})", condition(dice, depth - 1)),
            _ => format!("(({left}) ?? {})", condition(dice, depth - 1)),
        };
    }
    let (path, literal) = (dice.pick(PATHS), dice.pick(LITERALS));
    match dice.below(9) {
        0 | 1 => format!("{path} == {literal}"),
        2 => format!("{path} != {literal}"),
        3 => format!("exists({path})"),
        4 => {
            let kind = dice.pick(&["null", "string", "boolean", "integer", "float", "array", "object"]);
            format!("is_{kind}({path})")
        }
        5 => {
            let (function, bang) = (dice.pick(&["starts_with", "ends_with", "contains"]), dice.pick(&["", "!"]));
            let needle = dice.pick(&[r#""""#, r#""d""#, r#""bug""#, r#""é""#, r#""\"""#, r#""debug""#, "s'\\'"]);
            let value = if dice.one_in(2) { format!("string!({path})") } else { path.to_string() };
            format!("{function}{bang}({value}, {needle})")
        }
        6 => {
            let (guard, order) = (dice.pick(&["int", "float", "string"]), dice.pick(&["<", "<=", ">", ">=", "=="]));
            let literal = if guard == "string" { r#""debug""# } else { dice.pick(&["5", "1.5", "-5"]) };
            format!("{guard}!({path}) {order} {literal}")
        }
        7 => format!("({path} {} {literal} ?? {})", dice.pick(&["<", "<=", ">", ">="]), dice.pick(&["true", "false"])),
        _ => format!("bool!({path})"),
    }
}

/// A statement of the forms that are lowered.
fn lowered(dice: &mut Dice, depth: usize) -> String {
    let (path, other) = (dice.pick(PATHS), dice.pick(PATHS));
    match dice.below(8) {
        0 | 1 => format!("{path} = {}", dice.pick(LITERALS)),
        2 => format!("{path} = {other}"),
        3 => format!("{path} = del({other})"),
        4 => format!("del({path})"),
        5 => format!("{path} = {{\"k\": [1, 2.5, \"v\"], \"é\": null}}"),
        6 if depth > 0 => {
            let otherwise =
                if dice.one_in(2) { format!(" else {{ {} }}", lowered(dice, depth - 1)) } else { String::new() };
            format!("if {} {{ {} }}{otherwise}", condition(dice, 1), lowered(dice, depth - 1))
        }
        7 if dice.one_in(4) => "abort".to_string(),
        _ => format!("{path} = \"edge\""),
    }
}

/// A statement that VRL must run.
fn vrl_only(dice: &mut Dice) -> String {
    let (path, other) = (dice.pick(PATHS), dice.pick(PATHS));
    match dice.below(12) {
        0 => format!("{path} = upcase(to_string({other}) ?? \"none\")"),
        1 => format!("{path} = string!({other})"),
        2 => format!("v = {other}\n{path} = [v, 1]"),
        3 => ". = merge!(., {\"m\": 1})".to_string(),
        4 => format!("{path} = is_timestamp({other})"),
        5 => format!("{path}[1] = 7"),
        6 => format!("del({path}[0])"),
        7 => format!("%m = {other}\n{path} = %m"),
        8 => format!("{path} = length({other}) ?? 0"),
        9 => ". = [., .a]".to_string(),
        10 => format!("if {path} == 5 {{ abort \"because\" }}"),
        _ => format!("{path} = unnest!({other})"),
    }
}

/// A program: most often one that parses the message first, and then statements, most of which are lowered.
pub(crate) fn program(dice: &mut Dice) -> String {
    let mut statements = Vec::new();
    match dice.below(6) {
        0 => {}
        1 => statements.push(". = parse_json!(string!(.message))".to_string()),
        _ => statements.push(". = parse_json!(.message)".to_string()),
    }
    let vrl_runs = dice.one_in(3);
    for _ in 0..dice.below(5) {
        let statement = if vrl_runs && dice.one_in(2) { vrl_only(dice) } else { lowered(dice, 2) };
        statements.push(statement);
    }
    if statements.is_empty() {
        statements.push(".a = 1".to_string());
    }
    statements.join("\n")
}
