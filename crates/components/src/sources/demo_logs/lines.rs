//! [`Lines`]: the text of made-up lines, drawn by a chain of random numbers that is the same in every run.

use std::io::Write as _;

use tidegate_record::Timestamp;

use super::{DemoLogs, Format};

/// Makes one line after another into memory of its own.
pub(super) struct Lines {
    format: Format,
    shuffled: Vec<String>,
    numbered: bool,
    made: u64,
    dice: Dice,
    text: Vec<u8>,
}

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
const PATHS: [&str; 8] = [
    "/",
    "/index.html",
    "/api/v1/orders",
    "/api/v1/orders/recent?limit=50",
    "/static/app.js",
    "/login",
    "/search?q=tide+tables",
    "/metrics",
];
const STATUSES: [u16; 8] = [200, 200, 200, 201, 304, 404, 403, 503];
const USERS: [&str; 6] = ["-", "ada", "grace", "edsger", "barbara", "tony"];
const HOSTS: [&str; 4] = ["web-1.example.com", "web-2.example.com", "db.example.com", "queue.example.com"];
const PROGRAMS: [&str; 4] = ["nginx", "postgres", "sshd", "kernel"];
const LEVELS: [&str; 5] = ["debug", "info", "notice", "warn", "error"];
const TEXTS: [&str; 6] = [
    "connection accepted",
    "request took longer than expected",
    "could not resolve the name of the upstream server",
    "cache refreshed",
    "worker process exited with status 0",
    "the tide is high and the gate is shut",
];

impl Lines {
    pub(super) fn new(config: DemoLogs) -> Self {
        let DemoLogs { format, lines, sequence, seed, .. } = config;
        Self { format, shuffled: lines, numbered: sequence, made: 0, dice: Dice(seed), text: Vec::new() }
    }

    /// The next line, with `now` as its time where it has one.
    pub(super) fn next(&mut self, now: Timestamp) -> &[u8] {
        self.text.clear();
        // Writing to memory does not fail.
        drop(match self.format {
            Format::ApacheCommon => self.apache_common(now),
            Format::ApacheError => self.apache_error(now),
            Format::BsdSyslog => self.bsd_syslog(now),
            Format::Syslog => self.syslog(now),
            Format::Json => self.json(now),
            Format::Shuffle => self.shuffle(),
        });
        self.made += 1;
        &self.text
    }

    fn apache_common(&mut self, now: Timestamp) -> std::io::Result<()> {
        let Self { dice, text, .. } = self;
        let date = Date::of(now);
        write!(
            text,
            "{}.{}.{}.{} - {} [{:02}/{}/{}:{} +0000] \"{} {} HTTP/1.1\" {} {}",
            1 + dice.below(254),
            dice.below(256),
            dice.below(256),
            1 + dice.below(254),
            dice.of(&USERS),
            date.day,
            date.month_name,
            date.year,
            date.time,
            dice.of(&METHODS),
            dice.of(&PATHS),
            dice.of(&STATUSES),
            dice.below(50_000)
        )
    }

    fn apache_error(&mut self, now: Timestamp) -> std::io::Result<()> {
        let Self { dice, text, .. } = self;
        let date = Date::of(now);
        write!(
            text,
            "[{} {:02} {} {}] [core:{}] [pid {}:tid {}] [client 10.0.{}.{}:{}] {}",
            date.month_name,
            date.day,
            date.time,
            date.year,
            dice.of(&LEVELS),
            1 + dice.below(32_000),
            1 + dice.below(32_000),
            dice.below(256),
            dice.below(256),
            1024 + dice.below(60_000),
            dice.of(&TEXTS)
        )
    }

    fn bsd_syslog(&mut self, now: Timestamp) -> std::io::Result<()> {
        let Self { dice, text, .. } = self;
        let date = Date::of(now);
        write!(
            text,
            "<{}>{} {:>2} {} {} {}[{}]: {}",
            dice.below(192),
            date.month_name,
            date.day,
            date.time,
            dice.of(&HOSTS),
            dice.of(&PROGRAMS),
            1 + dice.below(32_000),
            dice.of(&TEXTS)
        )
    }

    fn syslog(&mut self, now: Timestamp) -> std::io::Result<()> {
        let Self { dice, text, made, .. } = self;
        write!(text, "<{}>1 ", dice.below(192))?;
        now.write_rfc3339(text);
        write!(
            text,
            " {} {} {} ID{} - {}",
            dice.of(&HOSTS),
            dice.of(&PROGRAMS),
            1 + dice.below(32_000),
            made,
            dice.of(&TEXTS)
        )
    }

    fn json(&mut self, now: Timestamp) -> std::io::Result<()> {
        let Self { dice, text, made, .. } = self;
        text.extend_from_slice(b"{\"time\":\"");
        now.write_rfc3339(text);
        write!(
            text,
            "\",\"id\":{},\"level\":\"{}\",\"host\":\"{}\",\"user\":\"{}\",\"method\":\"{}\",\"path\":\"{}\",\
             \"status\":{},\"bytes\":{},\"seconds\":{}.{:03},\"text\":\"{}\"}}",
            made,
            dice.of(&LEVELS),
            dice.of(&HOSTS),
            dice.of(&USERS),
            dice.of(&METHODS),
            dice.of(&PATHS),
            dice.of(&STATUSES),
            dice.below(50_000),
            dice.below(3),
            dice.below(1_000),
            dice.of(&TEXTS)
        )
    }

    fn shuffle(&mut self) -> std::io::Result<()> {
        let Self { dice, text, made, .. } = self;
        if self.numbered {
            write!(text, "{made} ")?;
        }
        match self.shuffled.as_slice() {
            [] => Ok(()),
            lines => text.write_all(dice.of(lines).as_bytes()),
        }
    }
}

/// A date as logs write it.
struct Date {
    year: String,
    month_name: &'static str,
    day: u8,
    time: String,
}

impl Date {
    fn of(now: Timestamp) -> Self {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let text = now.to_string();
        let number = |range: std::ops::Range<usize>| text[range].parse::<u8>().unwrap_or(1);
        Self {
            year: text[..4].to_owned(),
            month_name: MONTHS[usize::from(number(5..7).clamp(1, 12) - 1)],
            day: number(8..10),
            time: text[11..19].to_owned(),
        }
    }
}

/// A chain of random numbers: `SplitMix64` (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound.max(1)
    }

    /// One of `all`, of which there is at least one.
    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(all.len() as u64)).unwrap_or(0);
        &all[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(format: &str) -> Vec<String> {
        let config = format!(r#"{{"format":"{format}","lines":["left","right"],"sequence":true}}"#);
        let mut lines = Lines::new(serde_json::from_str(&config).unwrap());
        let now = Timestamp::from_unix_nanos(1_709_210_096_250_000_000);
        (0..50).map(|_| String::from_utf8(lines.next(now).to_vec()).unwrap()).collect()
    }

    #[test]
    fn every_format_makes_lines_of_its_kind() {
        let all = |format: &str, holds: fn(&str) -> bool| {
            let lines = lines(format);
            assert!(lines.iter().all(|line| holds(line)), "{format}: {lines:?}");
        };
        all("apache_common", |line| line.contains(" [29/Feb/2024:12:34:56 +0000] \"") && line.contains(" HTTP/1.1\" "));
        all("apache_error", |line| line.starts_with("[Feb 29 12:34:56 2024] [core:"));
        all("bsd_syslog", |line| line.contains(">Feb 29 12:34:56 ") && line.contains("]: "));
        all("syslog", |line| line.contains(">1 2024-02-29T12:34:56.250Z "));
        all("json", |line| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|value| value.is_object()));
        assert!(
            lines("shuffle")
                .iter()
                .enumerate()
                .all(|(at, line)| { *line == format!("{at} left") || *line == format!("{at} right") })
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_lines() {
        assert_eq!(lines("json"), lines("json"));
        assert_ne!(lines("json")[0], lines("json")[1]);
    }
}
