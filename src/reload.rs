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
pub trait Source {
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
}

/// What the files had in them; `None` for one that cannot be read.
type Contents = Vec<Option<[u8; 32]>>;

/// A value that follows its files.
#[derive(Debug)]
pub struct Followed<S: Source> {
    source: S,
    contents: Contents,
    current: watch::Sender<S::Value>,
}

impl<S: Source> Followed<S> {
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
        let mut last = self.contents.clone();
        loop {
            looks.tick().await;
            let now = contents(&self.source).await;
            // Files that belong together are replaced one after the other: they count when they have come to rest.
            if now == last && now != self.contents {
                self.read_again();
                self.contents.clone_from(&now);
            }
            last = now;
        }
    }

    fn read_again(&self) {
        match self.source.read() {
            Ok(value) => {
                self.current.send_replace(value);
                tracing::info!("the files of {} changed and were read again", S::NAME);
            }
            Err(error) => {
                tracing::error!(%error, "the files of {} changed and are of no use; what was read before stays", S::NAME);
            }
        }
    }
}

async fn contents(source: &impl Source) -> Contents {
    let files: Vec<PathBuf> = source.files().into_iter().map(Path::to_owned).collect();
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        contents.push(fs::read(file).await.ok().map(|bytes| Sha256::digest(bytes).into()));
    }
    contents
}
