//! [`Template`]: text with places that each record fills: its time (`%Y-%m-%d`) and its fields (`{{ host }}`).

use std::fmt;
use std::fmt::Write as _;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Local, TimeZone, Utc};
use chrono_tz::Tz;
use tidegate_record::{Form, Path, Row, json};

/// A text with places for the time and for fields of a record.
///
/// `%Y`, `%m`, `%d` and the other specifiers of `strftime` stand for the record's time, `%%` for a percent sign, and
/// `{{ path }}` (the first dot may be missing) for the value of a field: strings as they are, other values as JSON.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Time(Vec<Item<'static>>),
    Field(Path),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The byte at which it ceases to be one.
    pub at: usize,
    /// What is wrong there, and what to write instead.
    pub what: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.what, self.at)
    }
}

impl std::error::Error for TemplateError {}

/// Where the clocks are that a template tells the time by.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// UTC.
    #[default]
    Utc,
    /// That of the machine.
    Local,
    /// One of the time zone database.
    Named(Tz),
}

impl Zone {
    /// `local`, `UTC`, or a name of the time zone database (`Europe/Berlin`).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "local" => Some(Self::Local),
            "UTC" | "utc" => Some(Self::Utc),
            _ => name.parse().ok().map(Self::Named),
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A brace or a specifier that is not complete or not known, and where.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut at) = (Vec::new(), 0);
        while let Some(open) = text[at..].find("{{") {
            let open = at + open;
            push_text(&mut parts, &text[at..open], at)?;
            let error = |what: String| TemplateError { at: open, what };
            let length = text[open..].find("}}").ok_or_else(|| error("`{{` without its `}}`".to_owned()))?;
            let name = text[open + 2..open + length].trim();
            let path = Path::parse(name).map_err(|fault| error(format!("`{{{{ {name} }}}}` is no field: {fault}")))?;
            parts.push(Part::Field(path));
            at = open + length + 2;
        }
        push_text(&mut parts, &text[at..], at)?;
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text that every record gives, where it is always the same.
    #[must_use]
    pub fn fixed(&self) -> Option<String> {
        let literal = |part: &Part| if let Part::Literal(text) = part { Some(text.clone()) } else { None };
        self.parts.iter().map(literal).collect()
    }

    /// The text before the first place that a record fills.
    #[must_use]
    pub fn prefix(&self) -> &str {
        if let Some(Part::Literal(text)) = self.parts.first() { text } else { "" }
    }

    /// Whether it names fields, which a record may lack or have something in that no file can be called.
    #[must_use]
    pub fn has_fields(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(_)))
    }

    /// Whether the time of a record matters.
    #[must_use]
    pub fn has_time(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Time(_)))
    }

    /// Appends the text for one record.
    ///
    /// # Errors
    /// The field that the record lacks.
    pub fn render(&self, row: Row<'_>, clock: &mut RowClock, out: &mut String) -> Result<(), MissingField> {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Time(items) => clock.write(row, items, out),
                Part::Field(path) => {
                    let value = row.get(path).ok_or_else(|| MissingField { path: path.to_string() })?;
                    push_value(&value, out);
                }
            }
        }
        Ok(())
    }

    /// Like [`render`](Self::render), with what fields give made fit for a part of a file name: `/` and what is no text
    /// become `_`, and so does a name of dots alone, so that no record leads out of its directory.
    ///
    /// # Errors
    /// The field that the record lacks.
    pub fn render_path(&self, row: Row<'_>, clock: &mut RowClock, out: &mut String) -> Result<(), MissingField> {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Time(items) => clock.write(row, items, out),
                Part::Field(path) => {
                    let value = row.get(path).ok_or_else(|| MissingField { path: path.to_string() })?;
                    let mut text = String::new();
                    push_value(&value, &mut text);
                    let dots = text.bytes().all(|byte| byte == b'.');
                    let unfit = |c: char| c == '/' || c == '\\' || c.is_control() || (dots && c == '.');
                    out.extend(text.chars().map(|c| if unfit(c) { '_' } else { c }));
                }
            }
        }
        Ok(())
    }
}

/// A record has no such field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingField {
    /// The path of the field.
    pub path: String,
}

impl fmt::Display for MissingField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record has no field {}", self.path)
    }
}

/// Appends literal text and times. Neighbouring pieces of one kind become one part.
fn push_text(parts: &mut Vec<Part>, text: &str, at: usize) -> Result<(), TemplateError> {
    if !text.contains('%') {
        if !text.is_empty() {
            parts.push(Part::Literal(text.to_owned()));
        }
        return Ok(());
    }
    let mut times = Vec::new();
    for item in StrftimeItems::new(text) {
        match item {
            Item::Error => {
                let what = format!("`{text}` has a `%` that is no specifier of a time; write `%%` for a percent sign");
                return Err(TemplateError { at, what });
            }
            item => times.push(item.to_owned()),
        }
    }
    let fixed = |item: &Item<'_>| match item {
        Item::Literal(text) | Item::Space(text) => Some((*text).to_owned()),
        Item::OwnedLiteral(text) | Item::OwnedSpace(text) => Some(text.to_string()),
        _ => None,
    };
    match times.iter().map(fixed).collect::<Option<String>>() {
        Some(literal) => parts.push(Part::Literal(literal)),
        None => {
            // The text before the first specifier is kept apart, because it says where files will be.
            let leading = times.iter().take_while(|item| fixed(item).is_some()).count();
            let literal: String = times.drain(..leading).filter_map(|item| fixed(&item)).collect();
            if !literal.is_empty() {
                parts.push(Part::Literal(literal));
            }
            parts.push(Part::Time(times));
        }
    }
    Ok(())
}

/// Appends the text of a JSON value: what a string says, anything else as it is.
fn push_value(json: &[u8], out: &mut String) {
    match json {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => out.push_str(&String::from_utf8_lossy(inner)),
        [b'"', ..] => out.push_str(&String::from_utf8_lossy(&json::unquote(json))),
        _ => out.push_str(&String::from_utf8_lossy(json)),
    }
}

/// Tells the time of records: `.timestamp` (or another field) where that is a time (RFC 3339), or else when the record was read. Neighbours
/// mostly have one time, so the last text is kept.
#[derive(Debug)]
pub struct RowClock {
    zone: Zone,
    timestamp: Path,
    last: Vec<u8>,
    time: DateTime<Utc>,
}

impl RowClock {
    /// A clock in the given zone.
    #[must_use]
    pub fn new(zone: Zone) -> Self {
        Self { zone, timestamp: Path::field("timestamp"), last: Vec::new(), time: DateTime::UNIX_EPOCH }
    }

    /// A clock that finds the time of a record in this field instead of `.timestamp`.
    #[must_use]
    pub fn time_at(self, field: Path) -> Self {
        Self { timestamp: field, ..self }
    }

    fn write(&mut self, row: Row<'_>, items: &[Item<'static>], out: &mut String) {
        let time = self.time_of(row);
        // Writing to a string fails only where a specifier asks for what the time does not have; these were checked.
        let _ = match self.zone {
            Zone::Utc => write!(out, "{}", time.format_with_items(items.iter())),
            Zone::Local => {
                write!(out, "{}", Local.from_utc_datetime(&time.naive_utc()).format_with_items(items.iter()))
            }
            Zone::Named(zone) => {
                write!(out, "{}", zone.from_utc_datetime(&time.naive_utc()).format_with_items(items.iter()))
            }
        };
    }

    fn time_of(&mut self, row: Row<'_>) -> DateTime<Utc> {
        // A message has no time but that of its read.
        if row.form() == Form::Object
            && let Some(json) = row.get(&self.timestamp)
        {
            if *json == *self.last {
                return self.time;
            }
            let parsed = std::str::from_utf8(&json)
                .ok()
                .and_then(|text| DateTime::parse_from_rfc3339(text.strip_prefix('"')?.strip_suffix('"')?).ok());
            if let Some(time) = parsed {
                self.last = json.into_owned();
                self.time = time.with_timezone(&Utc);
                return self.time;
            }
        }
        DateTime::from_timestamp_nanos(row.origin().map_or(0, |origin| origin.received.unix_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_record::{Origin, Timestamp};

    use super::*;
    use crate::Rows;

    /// A record of the given form, read at 2026-11-21T23:30:00Z.
    fn rows(text: &str, form: Form) -> Rows {
        let mut rows = Rows::default();
        let origin = Origin::new("test", Timestamp::from_unix_nanos(1_795_303_800_000_000_000)).with_host("h1");
        rows.push_copy(text.as_bytes(), form, &Arc::new(origin));
        rows
    }

    fn render(template: &str, rows: &Rows, zone: Zone) -> Result<String, String> {
        let mut out = String::new();
        let template = Template::parse(template).unwrap();
        template.render(rows.row(0), &mut RowClock::new(zone), &mut out).map_err(|error| error.to_string())?;
        Ok(out)
    }

    #[test]
    fn the_time_is_that_of_the_read_or_of_the_record() {
        let message = rows("x", Form::Message);
        assert_eq!(render("a-%Y-%m-%d-%H%M.log", &message, Zone::Utc), Ok("a-2026-11-21-2330.log".into()));
        let object = rows(r#"{"timestamp":"2024-02-29T12:00:00+02:00"}"#, Form::Object);
        assert_eq!(render("%F %T", &object, Zone::Utc), Ok("2024-02-29 10:00:00".into()));
        let odd = rows(r#"{"timestamp":"yesterday"}"#, Form::Object);
        assert_eq!(render("%F", &odd, Zone::Utc), Ok("2026-11-21".into()), "no time, so that of the read");
    }

    #[test]
    fn the_time_is_told_where_the_zone_says() {
        let message = rows("x", Form::Message);
        let zone = Zone::parse("Asia/Tokyo").unwrap();
        assert_eq!(render("%F-%H", &message, zone), Ok("2026-11-22-08".into()));
        assert_eq!(
            (Zone::parse("local"), Zone::parse("UTC"), Zone::parse("Mars")),
            (Some(Zone::Local), Some(Zone::Utc), None)
        );
    }

    #[test]
    fn fields_stand_for_their_values() {
        let object = rows(r#"{"a":"x\ny","b":{"c":7},"d":[true]}"#, Form::Object);
        assert_eq!(
            render("{{a}}|{{ .b.c }}|{{ d }}|{{b}}%%", &object, Zone::Utc),
            Ok("x\ny|7|[true]|{\"c\":7}%".into())
        );
        assert_eq!(render("{{ host }}-{{message}}", &rows("m", Form::Message), Zone::Utc), Ok("h1-m".into()));
        assert_eq!(render("{{ z }}", &object, Zone::Utc), Err("the record has no field .z".into()));
    }

    #[test]
    fn in_a_path_no_field_leads_anywhere_else() {
        for (value, part) in
            [("../../etc/passwd", ".._.._etc_passwd"), ("..", "__"), (".", "_"), (r"a\u0000b", "a_b"), ("a.b", "a.b")]
        {
            let object = rows(&format!("{{\"a\":\"{value}\"}}"), Form::Object);
            let mut out = String::new();
            let template = Template::parse("logs/{{ a }}.log").unwrap();
            template.render_path(object.row(0), &mut RowClock::new(Zone::Utc), &mut out).unwrap();
            assert_eq!(out, format!("logs/{part}.log"));
        }
    }

    #[test]
    fn what_does_not_change_is_known() {
        let parts = |text: &str| {
            let template = Template::parse(text).unwrap();
            (template.fixed(), template.prefix().to_owned(), template.has_time())
        };
        assert_eq!(parts("a/b%%c"), (Some("a/b%c".into()), "a/b%c".into(), false));
        assert_eq!(parts("a/b-%Y.log"), (None, "a/b-".into(), true));
        assert_eq!(parts("a/{{ x }}"), (None, "a/".into(), false));
    }

    #[test]
    fn a_mistake_is_shown_at_its_place() {
        for (text, at, said) in [
            ("a-{{ b", 2, "`{{` without its `}}`"),
            ("a-{{ b- }}", 2, "is no field"),
            ("a-%!", 0, "no specifier of a time"),
            ("100%", 0, "write `%%`"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}");
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
