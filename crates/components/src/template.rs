//! [`Template`]: text with places that each record fills: its time (`%Y-%m-%d`) and its fields (`{{ host }}`).

use std::fmt;
use std::fmt::Write as _;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Local, TimeZone, Utc};
use chrono_tz::Tz;
use tidegate_record::{Path, Row};

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
        [b'"', ..] => match serde_json::from_slice::<String>(json) {
            Ok(text) => out.push_str(&text),
            Err(_) => out.push_str(&String::from_utf8_lossy(json)),
        },
        _ => out.push_str(&String::from_utf8_lossy(json)),
    }
}

/// Tells the time of records: `.timestamp` where that is a time (RFC 3339), or else when the record was read. Neighbours
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

    fn write(&mut self, row: Row<'_>, items: &[Item<'static>], out: &mut String) {
        let time = self.time_of(row);
        // Writing to a string fails only where a specifier asks for what the time does not have; these were checked.
        let _ = match self.zone {
            Zone::Utc => write!(out, "{}", time.format_with_items(items.iter())),
            Zone::Local => write!(out, "{}", Local.from_utc_datetime(&time.naive_utc()).format_with_items(items.iter())),
            Zone::Named(zone) => {
                write!(out, "{}", zone.from_utc_datetime(&time.naive_utc()).format_with_items(items.iter()))
            }
        };
    }

    fn time_of(&mut self, row: Row<'_>) -> DateTime<Utc> {
        if let Some(json) = row.get(&self.timestamp) {
            if *json == *self.last {
                return self.time;
            }
            let parsed = std::str::from_utf8(&json).ok().and_then(|text| {
                DateTime::parse_from_rfc3339(text.strip_prefix('"')?.strip_suffix('"')?).ok()
            });
            if let Some(time) = parsed {
                self.last = json.into_owned();
                self.time = time.with_timezone(&Utc);
                return self.time;
            }
        }
        DateTime::from_timestamp_nanos(row.origin().received.unix_nanos())
    }
}
