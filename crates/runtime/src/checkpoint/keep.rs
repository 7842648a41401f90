//! `Keep`: the keeper at work: opens the checkpoint, and saves what changes until the step is gone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Cause, Nack, Time};
use tidegate_store::{Checkpoint, Disk, Found};

use super::{CheckpointEvent, CheckpointSpec, Life, Restored, Shared, State};
use crate::blocking::blocking;
use crate::clock::Clock;

/// After a failure it is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// How long a disk that fails is waited for when the step is gone.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(5);

/// Between two saves it rests so many times as long as the last one took, however urgent the next is.
const RESTS: u32 = 2;

/// How long it is said that a checkpoint was set aside.
const SAID_FOR: Duration = Duration::from_secs(60);

/// The keeper at work.
pub(super) struct Keep<D> {
    pub(super) shared: Arc<Shared>,
    pub(super) spec: CheckpointSpec<D>,
    pub(super) state: Arc<dyn State>,
    pub(super) clock: Clock,
}

/// How a save went.
enum Save<D: Disk> {
    Done(Checkpoint<D>, Vec<u8>),
    Failed(Checkpoint<D>, Vec<u8>, String),
    /// The process ends.
    Over,
}

impl<D: Disk> Keep<D> {
    pub(super) async fn run(mut self) {
        let Some(file) = self.open().await else { return };
        self.shared.enter(Life::Open);
        self.keep(file).await;
    }

    /// Opens the checkpoint, as often as that takes. `None`: it never will be open, or nobody wants it any more.
    async fn open(&mut self) -> Option<Checkpoint<D>> {
        loop {
            match self.try_open().await {
                Ok(file) => {
                    self.shared.note(None);
                    return file;
                }
                Err(why) => {
                    (self.spec.on_event)(CheckpointEvent::Failed);
                    self.shared.note(Some(format!("it cannot be opened: {why}; tried again")));
                }
            }
            if self.shared.step_is_gone() {
                return None;
            }
            tokio::select! {
                () = self.clock.sleep_until(self.clock.now() + RETRY) => {}
                () = self.shared.bell.notified() => {}
            }
        }
    }

    async fn try_open(&mut self) -> Result<Option<Checkpoint<D>>, String> {
        let disk = (self.spec.disk)().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                "another process, or a pipeline that has not ended yet, works with it".to_owned()
            }
            _ => format!("its folder cannot be opened: {error}"),
        })?;
        let (form, most) = (self.spec.form, self.spec.most.get());
        let opened = blocking(move || Checkpoint::open(disk, form, most)).await.map_err(|nack| nack.to_string())?;
        let (mut file, found) = opened.map_err(|error| error.to_string())?;
        match found {
            Found::Nothing => {}
            Found::SetAside { why } => self.set_aside(&why),
            Found::TooLarge { bytes } => {
                let why = format!(
                    "the checkpoint has {bytes} bytes of state, and {} may be held; allow as much as before, or remove \
                     the checkpoint, with what is in it",
                    self.spec.most
                );
                self.shared.enter(Life::Failed(Cause::from(why)));
                return Ok(None);
            }
            Found::Saved { state, time } => {
                let age = Duration::from_nanos((self.spec.wall)().saturating_sub(time));
                let (to, now) = (Arc::clone(&self.state), self.clock.now());
                let work = move || to.restore(Restored { bytes: &state, age, now });
                let restored = match blocking(work).await {
                    Ok(restored) => restored,
                    Err(nack) => {
                        self.fail(&nack);
                        return Ok(None);
                    }
                };
                if let Err(why) = restored {
                    let moved =
                        blocking(move || file.set_aside().map(|()| file)).await.map_err(|nack| nack.to_string())?;
                    file = moved.map_err(|error| error.to_string())?;
                    self.set_aside(&why);
                }
            }
        }
        Ok(Some(file))
    }

    /// The work on the state was never done, or panicked: nobody knows what it is.
    fn fail(&self, nack: &Nack) {
        self.shared.enter(Life::Failed(Cause::from(format!("the work on its checkpoint failed: {}", nack.cause))));
    }

    fn set_aside(&self, why: &str) {
        (self.spec.on_event)(CheckpointEvent::SetAside);
        let words =
            format!("it could not be read ({why}), was set aside as `state.damaged`, and the state began empty");
        self.shared.lock().set_aside = Some(words);
    }

    /// Saves until the step is gone and nothing is left to be saved.
    async fn keep(mut self, mut file: Checkpoint<D>) {
        let mut bytes = Vec::new();
        let opened = self.clock.now();
        let (mut due, mut not_before, mut give_up_at) = (opened + self.spec.period, opened, None);
        loop {
            let now = self.clock.now();
            let said_until = self.shared.say_no_longer(now, opened + SAID_FOR);
            let (is_gone, is_changed) = (self.shared.step_is_gone(), self.state.is_changed());
            if is_gone && !is_changed && !self.state.is_awaiting() {
                return;
            }
            if is_gone && *give_up_at.get_or_insert(now + LAST_WAIT) <= now && self.shared.lock().trouble.is_some() {
                return;
            }
            let wanted_at = if is_gone || self.state.is_urgent() { not_before } else { due.max(not_before) };
            if !is_changed || wanted_at > now {
                let wanted_at = is_changed.then_some(wanted_at);
                self.wait(wanted_at.into_iter().chain(said_until).min()).await;
                continue;
            }
            match self.save(file, bytes).await {
                Save::Done(same, buffer) => {
                    (file, bytes) = (same, buffer);
                    let done = self.clock.now();
                    not_before = done + RESTS * done.since(now);
                    due = now + self.spec.period;
                }
                Save::Failed(same, buffer, why) => {
                    (file, bytes) = (same, buffer);
                    self.shared.note(Some(format!("it cannot be saved: {why}; tried again")));
                    not_before = self.clock.now() + RETRY;
                }
                Save::Over => return,
            }
        }
    }

    /// Waits for the bell, and no longer than until `at`. Cancel-safe.
    async fn wait(&mut self, at: Option<Time>) {
        let bell = self.shared.bell.notified();
        match at {
            None => bell.await,
            Some(at) => tokio::select! {
                () = bell => {}
                () = self.clock.sleep_until(at) => {}
            },
        }
    }

    async fn save(&mut self, mut file: Checkpoint<D>, mut bytes: Vec<u8>) -> Save<D> {
        bytes.clear();
        let (state, now, time) = (Arc::clone(&self.state), self.clock.now(), (self.spec.wall)());
        let work = move || {
            state.put_down(now, &mut bytes);
            let saved = file.save(&bytes, time);
            (file, bytes, saved)
        };
        match blocking(work).await {
            Ok((file, bytes, Ok(()))) => {
                self.shared.note(None);
                self.state.written(true);
                Save::Done(file, bytes)
            }
            Ok((file, bytes, Err(error))) => {
                (self.spec.on_event)(CheckpointEvent::Failed);
                self.state.written(false);
                Save::Failed(file, bytes, error.to_string())
            }
            Err(nack) => {
                self.state.written(false);
                self.fail(&nack);
                Save::Over
            }
        }
    }
}
