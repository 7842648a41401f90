//! The program itself is killed in the middle, and started again: `kill_file_tcp`, `kill_file_file`, `kill_http_http`.

use std::time::Duration;

use super::ground::{Ground, free_address, sent_at_end};
use super::outcome::{Outcome, Seen};
use crate::process::{Child, pass, poll};
use crate::shell::Fail;

/// How often.
const KILLS: u32 = 2;

/// Every record of the file arrives: what was written and not yet committed arrives again.
pub(super) fn file_to_tcp(ground: &Ground) -> Result<Outcome, Fail> {
    let rate = 100_000;
    let offered = rate * ground.seconds.clamp(2, 10);
    let from = ground.generate("kill_file_tcp.ndjson", offered)?;
    let (kept, data) = (ground.fresh("kill_file_tcp.kept"), ground.fresh("kill_file_tcp.data"));
    std::fs::create_dir_all(&data).map_err(|error| Fail::red(format!("{}: {error}", data.display())))?;
    let (keep, rate) = (kept.display().to_string(), rate.to_string());
    let (mut receiver, to) =
        ground.listener("receive", &[("listen", "127.0.0.1:0"), ("keep", &keep), ("rate", &rate)])?;
    let text = format!(
        "memory: 32MiB\ndata_dir: \"{}\"\nsources:\n  in: {{ type: file, include: [\"{}\"], read_from: beginning }}\n\
         transforms:\n  parse:\n    type: remap\n    inputs: [in]\n    source: |\n      . = parse_json!(.message)\n      \
         .pipeline = \"edge\"\nsinks:\n  out: {{ type: socket, mode: tcp, inputs: [parse], address: \"{to}\", encoding: {{ \
         codec: json }} }}\n",
        data.display(),
        from.display()
    );
    let mut program = ground.program("kill_file_tcp", &text)?;
    let resident = program.resident_mib();
    let mut peak_rss_mib: f64 = 0.0;
    for kill in 1..=u64::from(KILLS) {
        let part = offered * kill / u64::from(KILLS + 1);
        poll(Duration::from_secs(60), || Seen::of(&receiver.ask().unwrap_or_default()).unique >= part);
        peak_rss_mib = peak_rss_mib.max(program.peak_rss_mib()?);
        program.kill();
        pass(Duration::from_millis(300));
        program = ground.start("kill_file_tcp")?;
    }
    let last = super::ground::all_seen(&mut receiver, offered)?;
    peak_rss_mib = peak_rss_mib.max(program.peak_rss_mib()?);
    program.stop();
    let mut outcome =
        Outcome { offered, delivered: last.unique, repeated: last.repeated, peak_rss_mib, ..Outcome::default() };
    outcome.law(outcome.lost() == 0, format!("none of the file is lost over {KILLS} kills"));
    outcome.law_of_memory(resident);
    outcome.note(format!("{} lines were cut off by a kill, and came again whole", last.foreign));
    Ok(outcome)
}

/// How often the program is killed while it writes to a file.
const KILLS_OF_A_COPY: u32 = 25;

/// Every line of the file is in the copy, whole: what a kill tore off is put aside.
pub(super) fn file_to_file(ground: &Ground) -> Result<Outcome, Fail> {
    let offered = 400_000 * ground.seconds.clamp(2, 10);
    let from = ground.generate("kill_file_file.ndjson", offered)?;
    let (kept, data) = (ground.fresh("kill_file_file.kept"), ground.fresh("kill_file_file.data"));
    std::fs::create_dir_all(&data).map_err(|error| Fail::red(format!("{}: {error}", data.display())))?;
    drop(ground.fresh("kill_file_file.kept.torn"));
    // A kill ends a write at the end of a page: a field more, and lines do not end there, as 256 bytes would.
    let text = format!(
        "memory: 128MiB\ndata_dir: \"{}\"\nsources:\n  in: {{ type: file, include: [\"{}\"], read_from: beginning }}\n\
         transforms:\n  parse: {{ type: remap, inputs: [in], source: \". = parse_json!(.message)\\n.pipeline = 1\" }}\nsinks:\n  \
         out: {{ type: file, inputs: [parse], path: \"{}\", encoding: {{ codec: json }}, batch: {{ max_bytes: 16MiB }}, \
         buffer: {{ type: memory, max_size: 32MiB }} }}\n",
        data.display(),
        from.display(),
        kept.display()
    );
    let mut program = ground.program("kill_file_file", &text)?;
    let resident = program.resident_mib();
    let mut peak_rss_mib: f64 = 0.0;
    let length = || std::fs::metadata(&kept).map_or(0, |about| about.len());
    for kill in 0..KILLS_OF_A_COPY {
        peak_rss_mib = peak_rss_mib.max(program.peak_rss_mib()?);
        // At another moment each time, while it writes.
        let before = length();
        poll(Duration::from_secs(1), || length() > before);
        pass(Duration::from_micros(u64::from(kill * 7 % KILLS_OF_A_COPY) * 700));
        program.kill();
        program = ground.start("kill_file_file")?;
    }
    // It has written all when it writes no more.
    let mut last = 0;
    let grows = || {
        pass(Duration::from_secs(2));
        let now = length();
        std::mem::replace(&mut last, now) != now
    };
    std::iter::repeat_with(grows).take(60).take_while(|grows| *grows).for_each(drop);
    peak_rss_mib = peak_rss_mib.max(program.peak_rss_mib()?);
    program.stop();
    let seen = Seen::of(&ground.count(&kept, &[])?);
    let mut outcome =
        Outcome { offered, delivered: seen.unique, repeated: seen.repeated, peak_rss_mib, ..Outcome::default() };
    outcome.law(outcome.lost() == 0, format!("none of the file is lost over {KILLS_OF_A_COPY} kills"));
    outcome.law(seen.foreign == 0, format!("{} lines are garbled", seen.foreign));
    outcome.law_of_memory(resident);
    let torn = std::fs::metadata(kept.with_extension("kept.torn")).map_or(0, |about| about.len());
    outcome.note(format!("{torn} bytes were torn off by kills and put aside"));
    Ok(outcome)
}

/// What was answered with 2xx has arrived.
pub(super) fn http_to_http(ground: &Ground) -> Result<Outcome, Fail> {
    let (kept, answered) = (ground.fresh("kill_http_http.kept"), ground.fresh("kill_http_http.answered"));
    let (keep, noted) = (kept.display().to_string(), answered.display().to_string());
    let receive = [("listen", "127.0.0.1:0"), ("keep", keep.as_str()), ("delay-ms", "5")];
    let (receiver, to) = ground.listener("receive-http", &receive)?;
    let at = free_address()?;
    let text = format!(
        "memory: 32MiB\nsources:\n  in: {{ type: http_server, address: \"{at}\", framing: {{ method: newline_delimited }} }}\n\
         sinks:\n  out:\n    type: http\n    inputs: [in]\n    uri: \"http://{to}/\"\n    encoding: {{ codec: text }}\n    \
         batch: {{ max_events: 1000 }}\n    request: {{ concurrency: 4 }}\n"
    );
    let mut program = ground.program("kill_http_http", &text)?;
    let resident = program.resident_mib();
    let seconds = ground.seconds.max(3);
    let options = [("to", at.as_str()), ("answered", &noted), ("seconds", &seconds.to_string()), ("connections", "8")];
    let mut sender = Child::start(&mut ground.rig("send-http", &options))?;
    let mut peak_rss_mib: f64 = 0.0;
    for _ in 0..KILLS {
        pass(Duration::from_secs(seconds) / (KILLS + 1));
        peak_rss_mib = peak_rss_mib.max(program.peak_rss_mib()?);
        program.kill();
        pass(Duration::from_millis(300));
        program = ground.start("kill_http_http")?;
    }
    let offered = sent_at_end(&mut sender)?;
    peak_rss_mib = peak_rss_mib.max(program.peak_rss_mib()?);
    program.stop();
    drop(receiver);
    let counted = ground.count(&kept, &[("answered", &noted)])?;
    let (answers, seen) = counted.split_once('\n').unwrap_or_default();
    let answers: serde_json::Value =
        serde_json::from_str(answers).map_err(|error| Fail::red(format!("{answers}: {error}")))?;
    let (all, unseen) = (answers["answered"].as_u64().unwrap_or(0), answers["unseen"].as_u64().unwrap_or(u64::MAX));
    let seen = Seen::of(seen);
    let mut outcome =
        Outcome { offered, delivered: seen.unique, repeated: seen.repeated, peak_rss_mib, ..Outcome::default() };
    outcome
        .law(all > 0 && unseen == 0, format!("{unseen} lost of {all} that were answered with 2xx, over {KILLS} kills"));
    outcome.law_of_memory(resident);
    outcome.note("the sender sends again what was not answered: those are the repeated ones");
    Ok(outcome)
}
