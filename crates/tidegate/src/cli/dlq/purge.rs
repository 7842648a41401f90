//! `tidegate dlq purge`.

use std::io::{self, BufRead as _, IsTerminal as _};

use tidegate_components::letters::{Letter, Marker, Stock, Wish};
use tidegate_components::value::Period;
use tidegate_config::words::grouped;

use super::Which;
use crate::cli::{Done, term};

/// Which letters are given up.
#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    #[command(flatten)]
    which: Which,
    /// Only letters that were refused longer ago than this, the last time.
    #[arg(long, value_name = "TIME")]
    older_than: Option<Period>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Purge {
    pub(super) fn run(&self) -> Done {
        let Some((stock, mut wish)) = self.which.find() else { return Done::Wrong };
        match self.purge(&stock, wish.as_mut()) {
            Ok(done) => done,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                eprintln!(
                    "tidegate: another process replays or purges the letters of {}; wait for it",
                    self.which.name
                );
                Done::Failed
            }
            Err(error) => {
                eprintln!("tidegate: the dead letters of {}: {error}", self.which.name);
                Done::Failed
            }
        }
    }

    fn purge(&self, stock: &Stock, mut wish: Option<&mut Wish>) -> io::Result<Done> {
        let mut marker = Marker::of(stock)?;
        let mut meant = Vec::new();
        let mut all = 0_u64;
        stock.look(|letter: &Letter<'_>| {
            all += 1;
            let is_old = self.older_than.is_none_or(|age| letter.age() > age.get());
            if is_old && wish.as_mut().is_none_or(|wish| wish.matches(letter)) {
                meant.push(letter.number);
            }
            true
        })?;
        let (count, name) = (meant.len() as u64, &self.which.name);
        if meant.is_empty() {
            term::print(&format!("no such letters; {} stay\n", grouped(all)));
            return Ok(Done::Well);
        }
        if !self.yes && !confirmed(count, all, name)? {
            return Ok(Done::Wrong);
        }
        meant.into_iter().for_each(|number| marker.done(number));
        let here = marker.give_back()?;
        let later = if here { "" } else { "; the pipeline that runs gives their space back" };
        term::print(&format!("{} letters of {name} purged, {} stay{later}\n", grouped(count), grouped(all - count)));
        Ok(Done::Well)
    }
}

fn confirmed(count: u64, all: u64, name: &str) -> io::Result<bool> {
    let what = format!("{} of {} letters of {name}", grouped(count), grouped(all));
    if !io::stdin().is_terminal() {
        eprintln!("tidegate: this gives up {what} for good; say --yes if that is meant");
        return Ok(false);
    }
    eprint!("give up {what} for good? [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
