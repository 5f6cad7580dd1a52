//! Files that are read again when they change, so that nobody has to restart the service for a new certificate.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    fs,
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A value that comes from files.
pub trait Reloadable {
    /// What it is called in the log.
    const NAME: &'static str;

    /// What is read.
    type Value;

    /// Why it cannot be.
    type Error: Display;

    /// The files.
    fn files(&self) -> Vec<&Path>;

    /// Reads them.
    fn read(&self) -> Result<Self::Value, Self::Error>;

    /// What takes the place of `current` when `read` was read, and why something of it is held back, if it is. What is held back is
    /// tried again with each look.
    fn settle(&self, read: Self::Value, _current: &Self::Value) -> (Self::Value, Option<Self::Error>) {
        (read, None)
    }

    /// Is told at each look what the value is.
    fn look(&mut self, _current: &Self::Value) {}
}

/// What the files had in them; `None` for one that cannot be read.
type Contents = Vec<Option<[u8; 32]>>;

/// A value that follows its files.
#[derive(Debug)]
pub struct Watched<S: Reloadable> {
    source: S,
    contents: Contents,
    current: watch::Sender<S::Value>,
}

impl<S: Reloadable> Watched<S> {
    /// Reads it for the first time.
    pub async fn read(source: S) -> Result<Self, S::Error> {
        let contents = contents(&source).await;
        let current = watch::Sender::new(source.read()?);
        Ok(Self { source, contents, current })
    }

    /// What it is from now on.
    pub fn watch(&self) -> watch::Receiver<S::Value> {
        self.current.subscribe()
    }

    /// Follows the files, for good. While they are of no use the value stays as it was.
    pub async fn follow(mut self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut is_held_back) = (self.contents.clone(), false);
        loop {
            looks.tick().await;
            let now = contents(&self.source).await;
            let is_new = now != self.contents;
            // Files that belong together are replaced one after the other: they count when they have come to rest.
            if now == last && (is_new || is_held_back) {
                is_held_back = self.read_again(is_new);
                self.contents.clone_from(&now);
            }
            last = now;
            self.source.look(&self.current.borrow());
        }
    }

    /// Reads them because they changed, or because something was held back. Gives whether something is.
    fn read_again(&self, is_new: bool) -> bool {
        match self.source.read() {
            Ok(value) => {
                let (value, held_back) = self.source.settle(value, &self.current.borrow());
                match &held_back {
                    Some(_) if !is_new => return true,
                    Some(error) => {
                        tracing::error!(%error, "the files of {} changed and were read again, but for what is of no use", S::NAME);
                    }
                    None => tracing::info!("the files of {} changed and were read again", S::NAME),
                }
                self.current.send_replace(value);
                held_back.is_some()
            }
            Err(error) => {
                tracing::error!(%error, "the files of {} changed and are of no use; what was read before stays", S::NAME);
                false
            }
        }
    }
}

async fn contents(source: &impl Reloadable) -> Contents {
    let files: Vec<PathBuf> = source.files().into_iter().map(Path::to_owned).collect();
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        contents.push(fs::read(file).await.ok().map(|bytes| Sha256::digest(bytes).into()));
    }
    contents
}
