//! For tests of components: a pipeline of one source and a sink that keeps what it is given.

use std::sync::{Arc, Mutex};

use tidegate_flow::{Meta, Nack, Weight, kib, mib};
use tidegate_record::{Form, RecordId, Rows};
use tidegate_runtime::{Accepted, Pipeline, Report, Running, Sink};

use crate::contract::BuildContext;
use crate::wiring::{self, SourceSlot};

/// What a sink has kept: the message of each record, or the whole of it where that is an object. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    texts: Arc<Mutex<Vec<String>>>,
    /// The same as JSON.
    whole: Arc<Mutex<Vec<String>>>,
    /// By what each is known.
    ids: Arc<Mutex<Vec<Option<RecordId>>>>,
    /// Answers of the sink, in order; afterwards it accepts.
    refusals: Arc<Mutex<Vec<Nack>>>,
    arrived: Arc<tokio::sync::Notify>,
    /// Whether the sink waits.
    shut: tokio::sync::watch::Sender<bool>,
}

impl Kept {
    pub(crate) fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap().clone()
    }

    /// By what each of the records is known.
    pub(crate) fn ids(&self) -> Vec<Option<RecordId>> {
        self.ids.lock().unwrap().clone()
    }

    /// The first records as JSON.
    pub(crate) fn whole(&self) -> Vec<String> {
        self.whole.lock().unwrap().clone()
    }

    /// Lets the sink wait, or go on.
    pub(crate) fn shut(&self, shut: bool) {
        self.shut.send_replace(shut);
    }

    pub(crate) fn refuse(&self, nack: Nack) {
        self.refusals.lock().unwrap().push(nack);
    }

    /// Waits until so many records have arrived.
    pub(crate) async fn arrive(&self, count: usize) -> Vec<String> {
        loop {
            let arrived = self.arrived.notified();
            if self.texts.lock().unwrap().len() >= count {
                return self.texts();
            }
            arrived.await;
        }
    }
}

impl Sink<Rows> for Kept {
    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        // The sender is `self`.
        drop(self.shut.subscribe().wait_for(|shut| !shut).await);
        if let Some(nack) = self.refusals.lock().unwrap().pop() {
            return Err(nack);
        }
        let mut texts = self.texts.lock().unwrap();
        for row in payload.iter() {
            let mut text = Vec::new();
            match row.form() {
                Form::Message => row.write_text(&mut text),
                Form::Object => row.write_json(&mut text),
            }
            texts.push(String::from_utf8_lossy(&text).into_owned());
            self.ids.lock().unwrap().push(row.id());
            let mut whole = self.whole.lock().unwrap();
            if whole.len() < 10 {
                text.clear();
                row.write_json(&mut text);
                whole.push(String::from_utf8_lossy(&text).into_owned());
            }
        }
        self.arrived.notify_waiters();
        Ok(Accepted::All)
    }
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) report: Report,
    pub(crate) cx: BuildContext,
}

impl Ran {
    /// What a counter of the source says.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.cx.meters.get("source", name)
    }
}

/// Starts a pipeline of the source that `start` puts into its slot, and of `kept`.
pub(crate) fn start(cx: &BuildContext, kept: &Kept, start: impl FnOnce(SourceSlot<'_>)) -> Running {
    let builder = Pipeline::builder("test").budget(mib(16)).batch(Weight::new(4096, kib(64).get()));
    let (port, flow) = builder.boxed_port::<Rows>("kept");
    flow.sink("kept", kept.clone());
    start(wiring::lone_source("source", cx, &builder, &port));
    builder.build().unwrap().start()
}

/// Runs it to its end; the ledger balances.
pub(crate) async fn run(kept: &Kept, source: impl FnOnce(SourceSlot<'_>)) -> Ran {
    let cx = BuildContext::new("unused").host("here");
    let report = start(&cx, kept, source).wait().await;
    report.ledger.check().unwrap();
    Ran { report, cx }
}

/// A folder for a test, removed with this.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A new, empty folder.
pub(crate) fn folder() -> Folder {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("tidegate-components-{}-{number}", std::process::id()));
    drop(std::fs::remove_dir_all(&path));
    std::fs::create_dir_all(&path).unwrap();
    Folder(path)
}
