//! How long the messages of a request are waited for.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::gate::calls::methods::Form;

/// The times that are left.
#[derive(Debug)]
pub(super) struct Patience {
    form: Form,
    /// How long a request with one message may take, and how long the next message of a dialogue.
    body: Duration,
    /// How long a message may take from its first byte to its last.
    message: Duration,
    /// When the request, or in a dialogue the wait for the next message, was first waited for.
    began: Option<Instant>,
    /// When the message that is not complete was.
    message_began: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The time that is over, and the setting that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) setting: &'static str,
    pub(super) time: Duration,
}

impl Patience {
    pub(super) fn new(form: Form, body: Duration, message: Duration) -> Self {
        Self { form, body, message, began: None, message_began: None, timer: None }
    }

    /// A message is complete.
    pub(super) fn complete(&mut self) {
        self.message_began = None;
        self.timer = None;
        if self.form == Form::Dialogue {
            self.began = None;
        }
    }

    /// Waits on, in the middle of a message or before one, until a time is over. Where all is there at once no time is looked at.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, in_message: bool) -> Poll<Over> {
        let Some((at, over)) = self.due(in_message) else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).map(|()| over)
    }

    fn due(&mut self, in_message: bool) -> Option<(Instant, Over)> {
        let from = |began: &mut Option<Instant>, setting, time| {
            let at = *began.get_or_insert_with(Instant::now) + time;
            (at, Over { setting, time })
        };
        let body = (self.form != Form::Many).then(|| from(&mut self.began, "BODY_TIMEOUT", self.body));
        let message = in_message.then(|| from(&mut self.message_began, "MESSAGE_TIMEOUT", self.message));
        body.into_iter().chain(message).min_by_key(|(at, _)| *at)
    }
}
