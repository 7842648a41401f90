//! [`judge`]: what a round means: what was lost, what came twice and why it may, in which order, and how long it took.

use std::time::Duration;

use super::book::Book;
use super::draw::Round;
use super::record;
use super::round::{Facts, UNSETTLED};
use super::sink::RECEIVE_BUFFER_BYTES;
use super::source::{Kind, SEND_BUFFER_BYTES};

/// What came out so long before a kill, or before something was done to the sink, may come out once more: cursors are
/// saved every 50 ms and positions in files every 100 ms; the rest is for a machine that is busy.
const AGAIN: Duration = Duration::from_millis(1_000);
/// The longest from a start to the first record that was offered behind it.
const FRESH: Duration = Duration::from_secs(15);

/// What came of a round.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) round: Round,
    pub(super) facts: Facts,
    pub(super) acked: u64,
    pub(super) lost: u64,
    /// Arrivals of what had arrived.
    pub(super) twice: u64,
    /// The longest that one of them had been out when the process was killed.
    pub(super) oldest: Duration,
    /// How many may be lost: what a raw source exposes.
    pub(super) may_lose: u64,
    /// Every law that does not hold.
    pub(super) broken: Vec<String>,
}

pub(super) fn judge(round: &Round, book: &Book, facts: &Facts) -> Verdict {
    let mut broken = facts.broken.clone();
    let mut law = |holds: bool, words: String| {
        if !holds {
            broken.push(words);
        }
    };
    let (lost, acked, may_lose) = if round.case.is_promised() {
        (book.missing().count() as u64, book.acked, 0)
    } else {
        // The sender's own buffer goes with the connection, and what the receiver's kernel had when it was closed.
        let each = facts.exposed_bytes + (SEND_BUFFER_BYTES + RECEIVE_BUFFER_BYTES) as u64;
        (book.unsettled(), book.issued(), u64::from(facts.kills) * each.div_ceil(record::BYTES as u64))
    };
    let first: Vec<u64> = book.missing().take(5).collect();
    law(lost <= may_lose, format!("{lost} of {acked} are lost, {may_lose} may be; the first are {first:?}"));
    let (twice, oldest, unexcused) = repeats(book);
    law(
        unexcused.is_empty(),
        format!(
            "{} came twice though nothing had happened for {AGAIN:?}: {:?}",
            unexcused.len(),
            &unexcused[..unexcused.len().min(5)]
        ),
    );
    law(book.foreign.is_empty(), format!("garbled: {:?}", book.foreign));
    let order = !round.ordered || book.disorder.is_empty();
    let some = &book.disorder[..book.disorder.len().min(3)];
    law(order, format!("{} came out behind newer ones of their key: {some:?}", book.disorder.len()));
    law(facts.unsettled >= UNSETTLED, format!("only {} were unsettled when it was killed", facts.unsettled));
    law(facts.fresh <= FRESH, format!("{:?} until a fresh record came out, which is more than {FRESH:?}", facts.fresh));
    let (peak, resident) = (facts.peak_mib, facts.resident_mib);
    law(peak <= resident, format!("RSS {peak:.1} MiB, and `explain` says {resident:.1} MiB at most"));
    Verdict { round: round.clone(), facts: facts.clone(), acked, lost, twice, oldest, may_lose, broken }
}

/// Repeated arrivals, the longest that one had been out before a kill, and those that nothing excuses, with the time at
/// which they came first. A client that was not answered sends again, which is its right.
fn repeats(book: &Book) -> (u64, Duration, Vec<(u64, Duration)>) {
    let (mut twice, mut oldest, mut unexcused) = (0, Duration::ZERO, Vec::new());
    for (id, known) in (0_u64..).zip(&book.known).filter(|(_, known)| known.came > 1) {
        twice += u64::from(known.came) - 1;
        if known.is_sent_again {
            continue;
        }
        // It was under way when something happened, and came out of what was left as well as anew, however late; or it had
        // been out for so long.
        let was_offered = |(from, to): &&(Duration, Duration)| known.issued <= *to && *from <= known.second;
        let ages = book.disturbed.iter().filter(was_offered).map(|(from, _)| from.saturating_sub(known.first));
        match ages.min().filter(|age| *age <= AGAIN) {
            Some(age) => oldest = oldest.max(age),
            None => unexcused.push((id, known.first)),
        }
    }
    (twice, oldest, unexcused)
}

/// Whether an answer is a promise.
pub(super) fn promise_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Http => "answered with 2xx",
        Kind::File => "a whole line in the file",
        Kind::Tcp => "written to the connection (no promise)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::wait;

    fn see(book: &mut Book, id: u64) {
        let mut line = Vec::new();
        record::write(id, 0, &mut line);
        line.pop();
        book.see(&line);
    }

    fn round(name: &str) -> Round {
        let seed = (0..2_000).find(|seed| Round::draw(*seed).case.name == name).unwrap();
        Round { ordered: true, ..Round::draw(seed) }
    }

    fn fine() -> Facts {
        Facts { unsettled: UNSETTLED, kills: 1, exposed_bytes: 0, ..Facts::default() }
    }

    #[test]
    fn one_lost_record_that_was_acked_is_red_and_one_that_was_not_is_none() {
        let mut book = Book::new(wait::now());
        book.issue(2);
        book.ack(&(0..1));
        let verdict = judge(&round("http_http_disk"), &book, &fine());
        assert_eq!((verdict.lost, verdict.broken.len()), (1, 1));
        see(&mut book, 0);
        assert!(judge(&round("http_http_disk"), &book, &fine()).broken.is_empty());
    }

    #[test]
    fn what_comes_twice_needs_a_kill_at_its_time() {
        let mut book = Book::new(wait::now());
        book.issue(1);
        see(&mut book, 0);
        see(&mut book, 0);
        assert_eq!(judge(&round("file_file_disk"), &book, &fine()).broken.len(), 1);
        book.disturb(Duration::ZERO);
        see(&mut book, 0);
        let verdict = judge(&round("file_file_disk"), &book, &fine());
        assert!(verdict.broken.is_empty() && verdict.twice == 2, "{verdict:?}");
        book.disturbed = vec![(Duration::from_secs(5), Duration::from_secs(5))];
        assert_eq!(judge(&round("file_file_disk"), &book, &fine()).broken.len(), 1, "it had been out for long");
    }

    #[test]
    fn a_raw_source_may_lose_what_it_exposes_and_no_more() {
        let mut book = Book::new(wait::now());
        book.issue(10_000);
        assert_eq!(judge(&round("tcp_tcp_disk"), &book, &fine()).broken.len(), 1);
        let exposed = Facts { exposed_bytes: 10_000 * record::BYTES as u64, ..fine() };
        assert!(judge(&round("tcp_tcp_disk"), &book, &exposed).broken.is_empty());
    }

    #[test]
    fn order_memory_and_time_are_laws() {
        let mut book = Book::new(wait::now());
        book.issue(2);
        see(&mut book, 1);
        see(&mut book, 0);
        let late = Facts { fresh: FRESH * 2, peak_mib: 2.0, resident_mib: 1.0, unsettled: 5, ..fine() };
        assert_eq!(judge(&round("file_file_disk"), &book, &late).broken.len(), 4);
    }
}
