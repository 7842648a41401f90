//! Between what you have: a `futures::Stream` goes in, a `futures::Sink` comes out. And the other way round: a pipeline
//! that is itself a stream, read as slowly as you like.
//!
//! `cargo run --release -p tidegate --example stream_in_sink_out`

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use futures_util::{StreamExt as _, sink as futures_sink, stream};
use tidegate::{Outcome, Pipeline, mib, sink, source};

mod say;
use say::say;

/// A stream that gives a word every few milliseconds.
fn words() -> impl futures_util::Stream<Item = String> + Send {
    stream::iter("the tide comes in and the gate shuts by itself".split(' ')).then(|word| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        word.to_owned()
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    into_a_sink().await?;
    into_a_stream().await
}

async fn into_a_sink() -> Result<(), Box<dyn Error>> {
    // Any `futures::Sink` will do: a codec over a socket, a channel, a file.
    let printer = futures_sink::unfold(0, |line, word: String| async move {
        say!("{line:2} {word}");
        Ok::<_, Infallible>(line + 1)
    });
    let builder = Pipeline::builder("words").budget(mib(4));
    builder
        .source("words", source::stream(words()))
        .map(|word| word.to_uppercase())
        .edge("to-printer")
        .sink("printer", sink::from_sink(printer));
    let report = builder.build()?.start().wait().await;
    say!("{}\n", report.ledger);
    assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 10);
    Ok(())
}

async fn into_a_stream() -> Result<(), Box<dyn Error>> {
    let builder = Pipeline::builder("lengths").budget(mib(4));
    let lengths = builder.source("words", source::stream(words())).map(|word| word.len()).into_stream("lengths");
    let running = builder.build()?.start();
    // Pulling is demand: a pipeline that nobody pulls from reads no more than its edges hold.
    let lengths: Vec<usize> = lengths.collect().await;
    say!("lengths: {lengths:?}");
    let report = running.wait().await;
    report.ledger.check()?;
    assert_eq!(lengths, [3, 4, 5, 2, 3, 3, 4, 5, 2, 6]);
    Ok(())
}
