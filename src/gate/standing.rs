//! The right of a caller while something goes on that it began: it may end, and it may change.

use std::{future::pending, pin::pin, sync::Arc};

use tokio::sync::watch;

use crate::{
    domain::Certificate,
    gate::{Caller, Grants, SubscribeScope, TokenError, Watch},
};

/// A caller whose right is looked at again and again.
#[derive(Debug)]
pub struct Standing {
    caller: Caller,
    token: Watch,
    granted: Option<Granted>,
}

/// A certificate, and the table that says what it allows.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    pub(super) certificate: Arc<Certificate>,
    pub(super) grants: watch::Receiver<Grants>,
}

/// What has become of a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// It is what it was.
    Same,
    /// Another row of the grants is in force, or the same one says something else: the caller is to be judged anew.
    Renewed,
}

impl Caller {
    /// Its right, from now on.
    pub fn standing(&self) -> Standing {
        let permit = self.identity().map_or(SubscribeScope::OPEN, |identity| SubscribeScope::of(Arc::clone(identity)));
        let mut granted = self.granted().cloned();
        if let Some(granted) = &mut granted {
            // The table may have changed since the call was let in.
            granted.grants.mark_changed();
        }
        Standing { token: self.revocations().watch(permit), caller: self.clone(), granted }
    }
}

impl Standing {
    /// The caller, with the right that it had when that was last looked at.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether its token is still good, and whether its right is still the same. Looks closer only when something changed.
    pub fn check(&mut self) -> Result<Right, TokenError> {
        self.token.check()?;
        let Some(granted) = &mut self.granted else { return Ok(Right::Same) };
        if !granted.grants.has_changed().unwrap_or(false) {
            return Ok(Right::Same);
        }
        let identity = granted.grants.borrow_and_update().identify(&granted.certificate);
        self.caller = self.caller.renewed(Arc::new(identity));
        Ok(Right::Renewed)
    }

    /// Waits until its token is no longer good.
    pub async fn ended(&mut self) -> TokenError {
        loop {
            self.token.changed().await;
            if let Err(error) = self.token.check() {
                return error;
            }
        }
    }

    /// Waits until its right ends or changes; then [`check`](Self::check) has something to say.
    pub async fn changed(&mut self) -> Result<(), TokenError> {
        let granted = self.granted.clone();
        let renewed = async {
            // Left unseen, for `check` to see. A table that changes no more is no news.
            if let Some(Granted { mut grants, .. }) = granted
                && grants.changed().await.is_ok()
            {
                return;
            }
            pending().await
        };
        let mut renewed = pin!(renewed);
        loop {
            tokio::select! {
                () = self.token.changed() => self.token.check()?,
                () = &mut renewed => return Ok(()),
            }
        }
    }
}
