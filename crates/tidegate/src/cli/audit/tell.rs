//! [`Audit`]: the ledger of all runs put together with what is on disk, and told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use tidegate_config::words::grouped;

use crate::cli::ledger::{add, fold};

/// What is kept on disk until somebody takes it.
pub(super) enum Kept {
    /// In the buffer of a component.
    Buffer {
        /// The component.
        name: String,
        /// Records that are durable and not settled.
        waiting: u64,
    },
    /// As dead letters of a component.
    Letters {
        /// The component.
        name: String,
        /// How many, and why.
        letters: Letters,
    },
}

/// Dead letters by cause.
#[derive(Default)]
pub(super) struct Letters {
    count: u64,
    causes: BTreeMap<String, u64>,
}

/// So many causes are told apart.
const MOST_CAUSES: usize = 100;

impl Letters {
    pub(super) fn add(&mut self, cause: &str) {
        self.count += 1;
        if self.causes.len() < MOST_CAUSES || self.causes.contains_key(cause) {
            *self.causes.entry(cause.to_owned()).or_default() += 1;
        }
    }

    /// Why most of them are there.
    fn cause(&self) -> String {
        let most = self.causes.iter().max_by_key(|(_, count)| **count);
        most.map_or_else(String::new, |(cause, count)| match count == &self.count {
            true => cause.clone(),
            false => format!("{cause} ({} of them)", grouped(*count)),
        })
    }
}

/// Where records are that are not delivered.
struct Missing {
    records: u64,
    /// In words, behind the number.
    words: String,
    /// In one word.
    kind: &'static str,
    at: String,
    /// Whether it is known that they are not delivered. What went back to a source may have come again since.
    is_sure: bool,
}

/// What became of every record.
pub(super) struct Audit {
    /// The runs, in words.
    runs: Vec<String>,
    /// Of each source, whatever there is of it over all runs.
    sources: Vec<(String, BTreeMap<String, u64>)>,
    accepted: u64,
    missing: Vec<Missing>,
    /// What else became of records, in words.
    notes: Vec<String>,
    /// What does not add up.
    imbalances: Vec<String>,
    now: Value,
}

/// The end of a buffer on disk that hands on what is in it, as a source.
const FROM_DISK: &str = ".from_disk";

impl Audit {
    /// Of a ledger file, or what the program says now, and of what is on disk.
    pub(super) fn of(ledger: &Value, is_alive: bool, is_live: bool, kept: &[Kept]) -> Self {
        let now = &ledger["now"];
        let ended = !ledger["end"].is_null();
        // All runs as if this one had ended; what is in flight now is told apart where it still runs.
        let mut all = fold(ledger);
        let mut sources = Vec::new();
        for (name, counts) in all["sources"].as_object_mut().into_iter().flatten() {
            let flying = now["sources"][name.as_str()]["in_flight"].as_u64().unwrap_or(0);
            if is_alive {
                let unheard = counts["unheard"].as_u64().unwrap_or(0).saturating_sub(flying);
                counts["unheard"] = json!(unheard);
                add(counts, &json!({ "in_flight": flying }));
            }
            let counts = counts.as_object().into_iter().flatten();
            let counts = counts.filter_map(|(key, count)| Some((key.clone(), count.as_u64().filter(|n| *n > 0)?)));
            sources.push((name.clone(), counts.collect()));
        }
        let mut audit = Self {
            runs: runs(ledger, &all, (is_alive, is_live, ended)),
            accepted: 0,
            sources,
            missing: Vec::new(),
            notes: Vec::new(),
            imbalances: imbalances(&all),
            now: now.clone(),
        };
        audit.check_sources();
        // The program itself knows better than its disk, where cursors come later.
        let known = |name: &str| now["buffers"][name]["waiting"].as_u64().filter(|_| is_live);
        audit.look_for(&all, kept, &known);
        audit.note(kept);
        audit
    }

    /// The second law, over all runs.
    fn check_sources(&mut self) {
        for (name, counts) in &self.sources {
            let of = |key: &str| counts.get(key).copied().unwrap_or(0);
            let (accepted, accounted) = (of("accepted"), counts.values().sum::<u64>() - of("accepted"));
            if accepted != accounted {
                self.imbalances
                    .push(format!("source `{name}` accepted {accepted}, of which {accounted} are accounted for"));
            }
            if !name.ends_with(FROM_DISK) {
                self.accepted += accepted;
            }
        }
    }

    /// Where everything is that was accepted and not delivered.
    fn look_for(&mut self, all: &Value, kept: &[Kept], known: &dyn Fn(&str) -> Option<u64>) {
        let mut missing = Vec::new();
        let mut put = |records: u64, kind: &'static str, at: &str, words: String| {
            if records > 0 {
                let is_sure = !matches!(kind, "abandoned" | "returned" | "unheard");
                missing.push(Missing { records, words, kind, at: at.to_owned(), is_sure });
            }
        };
        for kept in kept {
            match kept {
                Kept::Buffer { name, waiting } => {
                    let waiting = known(name).unwrap_or(*waiting);
                    put(waiting, "waiting", name, format!("wait in the buffer of `{name}` on disk"));
                }
                Kept::Letters { name, letters } => {
                    let words =
                        format!("are dead letters of `{name}`: {}; `tidegate dlq show {name}`", letters.cause());
                    put(letters.count, "dead_letters", name, words);
                }
            }
        }
        for (label, count) in all["shed"].as_object().into_iter().flatten() {
            put(count.as_u64().unwrap_or(0), "shed", label, format!("were shed by {label}"));
        }
        for (name, counts) in all["buffers"].as_object().into_iter().flatten() {
            let of = |key: &str| counts[key].as_u64().unwrap_or(0);
            put(
                of("dropped"),
                "dropped",
                name,
                format!(
                    "were dropped by the buffer of `{name}`, which was full (what its sink had in hand then may have arrived)"
                ),
            );
            put(of("expired"), "expired", name, format!("grew older in the buffer of `{name}` than its `max_age`"));
            put(of("damaged"), "damaged", name, format!("were damaged on the disk in the buffer of `{name}`"));
        }
        for (name, counts) in &self.sources {
            let from = name.strip_suffix(FROM_DISK);
            let whose = from.map_or_else(|| format!("`{name}`"), |node| format!("the buffer of `{node}`"));
            let of = |key: &str| counts.get(key).copied().unwrap_or(0);
            put(of("expired"), "expired", name, format!("of {whose} were later than their deadline"));
            // What a buffer gave back, or had on its way, waits in it.
            if from.is_none() {
                let again = "it reads or its senders send them again where they can";
                let words = format!("of {whose} were given up in flight when their pipeline was ended: {again}");
                put(of("abandoned"), "abandoned", name, words);
                put(of("returned"), "returned", name, format!("were given back to {whose}: {again}"));
                put(of("in_flight"), "in_flight", name, format!("of {whose} are on their way now"));
                let words = format!(
                    "of {whose} were on their way when a run ended without a word, or had just arrived: {again}"
                );
                put(of("unheard"), "unheard", name, words);
            }
        }
        missing.sort_by_key(|missing| std::cmp::Reverse(missing.records));
        self.missing = missing;
    }

    /// Whether both laws hold, in all runs.
    pub(super) fn balances(&self) -> bool {
        self.imbalances.is_empty()
    }

    /// Of so many records it is known that they are not delivered; of so many more it is not known.
    fn not_delivered(&self) -> (u64, u64) {
        let sum = |sure: bool| {
            self.missing.iter().filter(|missing| missing.is_sure == sure).map(|missing| missing.records).sum()
        };
        (sum(true), sum(false))
    }

    /// What became of records that are not missing, and not simply delivered.
    fn note(&mut self, kept: &[Kept]) {
        let sum = |key: &str| self.sources.iter().filter_map(|(_, counts)| counts.get(key)).sum::<u64>();
        let absorbed = sum("absorbed");
        if absorbed > 0 {
            self.notes.push(format!(
                "{} were merged by transforms that keep state: what they became is delivered as records of its own, or still \
                 in that state (`checkpoints` in the data directory)",
                grouped(absorbed)
            ));
        }
        let letters = |kept: &Kept| if let Kept::Letters { letters, .. } = kept { letters.count } else { 0 };
        let gone = sum("dead_lettered").saturating_sub(kept.iter().map(letters).sum());
        if gone > 0 {
            self.notes.push(format!(
                "{} were dead letters and are not kept any more: replayed, purged, dropped, or damaged on disk",
                grouped(gone)
            ));
        }
    }

    fn names(&self) -> String {
        let own = self.sources.iter().filter(|(name, _)| !name.ends_with(FROM_DISK));
        let names: Vec<String> = own.map(|(name, _)| format!("`{name}`")).collect();
        match names.as_slice() {
            [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            _ => names.join(""),
        }
    }

    /// For people.
    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        let mut line = |text: &str| page = format!("{page}{text}\n");
        self.runs.iter().for_each(|run| line(run));
        line("");
        for (name, counts) in &self.sources {
            let of = |key: &str| counts.get(key).copied().unwrap_or(0);
            let (what, done) = match name.strip_suffix(FROM_DISK) {
                Some(node) => (format!("the buffer of `{node}` handed on"), "delivered"),
                None => (format!("`{name}` accepted"), "delivered, or put into a buffer on disk"),
            };
            let others = counts.iter().filter(|(key, _)| !matches!(key.as_str(), "accepted" | "delivered"));
            let others: String =
                others.map(|(key, count)| format!(", {} {}", grouped(*count), key.replace('_', " "))).collect();
            line(&format!("{what} {}: {} {done}{others}", grouped(of("accepted")), grouped(of("delivered"))));
        }
        line("");
        let ((missing, unknown), accepted) = (self.not_delivered(), grouped(self.accepted));
        let list = |sure: bool| -> String {
            let lines = self.missing.iter().filter(|missing| missing.is_sure == sure);
            lines.map(|missing| format!("\n  {} {}", grouped(missing.records), missing.words)).collect()
        };
        if missing > 0 {
            let (missing, names, places) = (grouped(missing), self.names(), list(true));
            line(&format!("{missing} of {accepted} accepted from {names} are not delivered:{places}"));
        } else if unknown == 0 && self.notes.is_empty() {
            let names = self.names();
            line(&format!("all of the {accepted} records accepted from {names} were delivered or removed by intent"));
        } else {
            line(&format!("none of the {accepted} records accepted from {} is known to be missing", self.names()));
        }
        if unknown > 0 {
            line(&format!("what became of {} is not known here:{}", grouped(unknown), list(false)));
        }
        self.notes.iter().for_each(|note| line(note));
        if self.balances() {
            line("both laws balance: each stage and edge, and each source");
        }
        for imbalance in &self.imbalances {
            let _written =
                writeln!(page, "DOES NOT BALANCE: {imbalance}. This is a bug: please report it with this line");
        }
        page
    }

    /// For tools.
    pub(super) fn json(&self) -> Value {
        let missing: Vec<Value> = self
            .missing
            .iter()
            .map(|missing| json!({ "records": missing.records, "is_sure": missing.is_sure, "kind": missing.kind, "at": missing.at, "words": missing.words }))
            .collect();
        json!({
            "runs": self.runs, "sources": self.sources.iter().cloned().collect::<BTreeMap<_, _>>(),
            "accepted": self.accepted, "not_delivered": self.not_delivered().0, "unknown": self.not_delivered().1,
            "missing": missing, "notes": self.notes,
            "balances": self.balances(), "imbalances": self.imbalances, "now": self.now,
        })
    }
}

/// The runs, in words.
fn runs(ledger: &Value, all: &Value, (is_alive, is_live, ended): (bool, bool, bool)) -> Vec<String> {
    let of = |key: &str| ledger[key].as_str().unwrap_or("?").to_owned();
    let run = &ledger["run"];
    let stands = match (is_alive, is_live, ended) {
        (_, true, _) => "is at work; the figures are those of now".to_owned(),
        (true, false, _) => format!("is at work; the figures are those of {}", of("at")),
        (_, _, true) => format!("ended at {}: {}", of("at"), of("end").replace('_', " ")),
        (false, false, false) => format!("ended without a word; last heard of at {}", of("at")),
    };
    let mut lines = vec![format!("run {run} of pipeline \"{}\", since {}, {stands}", of("pipeline"), of("started"))];
    for killed in all["killed"].as_array().into_iter().flatten().filter(|killed| killed["run"] != *run) {
        let text = |key: &str| killed[key].as_str().unwrap_or("?").to_owned();
        lines.push(format!(
            "run {} of {} ended without a word; last heard of at {}, with {} in flight",
            killed["run"],
            text("started"),
            text("at"),
            grouped(killed["in_flight"].as_u64().unwrap_or(0))
        ));
    }
    if !all["killed"].as_array().is_none_or(Vec::is_empty) && (!is_alive || lines.len() > 1) {
        lines.push(
            "what such a run accepted in its last second, after it was last heard of, is not counted here".to_owned(),
        );
    }
    lines
}

/// What the program itself found not to balance, in any run.
fn imbalances(all: &Value) -> Vec<String> {
    all["unbalanced"].as_array().into_iter().flatten().filter_map(|why| why.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(end: Value, delivered: u64) -> Value {
        json!({
            "version": 1, "pipeline": "p", "run": 2, "started": "12:03", "at": "12:04", "end": end,
            "before": {
                "runs": 1, "sources": { "app": { "accepted": 100, "delivered": 90, "unheard": 10 } },
                "killed": [{ "run": 1, "started": "11:00", "at": "11:30", "in_flight": 10 }],
            },
            "now": {
                "sources": {
                    "app": { "accepted": 999_900, "delivered": delivered, "dead_lettered": 2, "in_flight": 8 },
                    "search.from_disk": { "accepted": 500, "delivered": 490, "in_flight": 10 },
                },
                "shed": { "search (full)": 3 }, "buffers": { "search": { "waiting": 400 } }, "balances": true,
            },
        })
    }

    fn kept() -> [Kept; 2] {
        let mut letters = Letters::default();
        (0..12).for_each(|_| letters.add("400 Bad Request"));
        [Kept::Buffer { name: "search".into(), waiting: 444 }, Kept::Letters { name: "search".into(), letters }]
    }

    #[test]
    fn placeseach_record_is_is_said_in_words() {
        let audit = Audit::of(&ledger(Value::Null, 999_890), true, true, &kept());
        let page = audit.page();
        assert!(audit.balances(), "{page}");
        for words in [
            "run 2 of pipeline \"p\", since 12:03, is at work; the figures are those of now",
            "run 1 of 11:00 ended without a word; last heard of at 11:30, with 10 in flight",
            "`app` accepted 1,000,000: 999,980 delivered, or put into a buffer on disk, 2 dead lettered, 8 in flight, 10 unheard",
            "423 of 1,000,000 accepted from `app` are not delivered:",
            "  400 wait in the buffer of `search` on disk\n",
            "  12 are dead letters of `search`: 400 Bad Request; `tidegate dlq show search`\n",
            "  3 were shed by search (full)\n",
            "  8 of `app` are on their way now\n",
            "what became of 10 is not known here:\n  10 of `app` were on their way when a run ended without a word",
            "both laws balance",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
        assert_eq!((&audit.json()["not_delivered"], &audit.json()["unknown"]), (&json!(423), &json!(10)));
    }

    #[test]
    fn what_waits_in_a_buffer_was_not_given_up_and_what_was_merged_or_taken_is_said() {
        let counts = json!({ "accepted": 30, "delivered": 20, "absorbed": 6, "dead_lettered": 4 });
        let buffer = json!({ "accepted": 20, "delivered": 15, "abandoned": 5 });
        let ledger = json!({
            "version": 1, "pipeline": "p", "run": 1, "started": "12:03", "at": "12:04", "end": "completed",
            "now": { "sources": { "app": counts, "search.from_disk": buffer }, "balances": true },
        });
        let waiting = Kept::Buffer { name: "search".into(), waiting: 5 };
        let page = Audit::of(&ledger, false, false, &[waiting]).page();
        assert!(page.contains("5 of 30 accepted from `app` are not delivered:\n  5 wait in the buffer"), "{page}");
        assert!(page.contains("6 were merged by transforms"), "{page}");
        assert!(page.contains("4 were dead letters and are not kept any more"), "{page}");
        let page = Audit::of(&ledger, false, false, &[]).page();
        assert!(page.contains("none of the 30 records accepted from `app` is known to be missing"), "{page}");
    }

    #[test]
    fn a_run_that_was_killed_and_a_law_that_is_broken_are_said() {
        let killed = Audit::of(&ledger(Value::Null, 999_890), false, false, &[]);
        let page = killed.page();
        assert!(
            page.contains("run 2 of pipeline \"p\", since 12:03, ended without a word; last heard of at 12:04"),
            "{page}"
        );
        assert!(page.contains("  18 of `app` were on their way when a run ended without a word"), "{page}");
        let broken = Audit::of(&ledger(json!("completed"), 999_889), false, false, &[]);
        assert!(!broken.balances());
        assert!(
            broken.page().contains("DOES NOT BALANCE: source `app` accepted 1000000, of which 999999"),
            "{}",
            broken.page()
        );
    }
}
