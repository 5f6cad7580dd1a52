//! What is refused, and why: the one list for every transport.

use std::{borrow::Cow, num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    domain::{ClientId, Code, UserId},
    gate::{Credential, Rate, RejectionReason, Share, TokenError, publish_quotas},
    wire::quota::Quota,
};

/// What keeps the service from doing what anybody may ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unserved {
    /// It goes away.
    Draining,
    /// All places for connections are taken.
    Connections,
    /// As many publishes wait as may.
    Queue,
    /// The journal takes too long.
    Unanswered,
    /// The journal cannot be written to, or read.
    Journal,
    /// The fault is ours.
    Internal,
}

/// Why somebody does not get what it asks for. The texts name what is missing, and never the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no valid credential.
    #[error("a valid token is needed: send the metadata `authorization: Bearer <token>`")]
    Unauthenticated(Option<TokenError>),
    /// The credential does not allow this kind of thing at all.
    #[error("{0} lacks the claim `{1}`")]
    Claim(Credential, &'static str),
    /// The event is none of those that the credential may publish.
    #[error("{0} may not publish {1:?}: no pattern of its claim `publish` fits")]
    Event(Credential, Box<str>),
    /// It may publish, but not for this audience.
    #[error("{0} may not publish for {1:?}: no pattern of its claim `audiences` fits")]
    Reach(Credential, Box<str>),
    /// The room, or the user's notifications, are not for this credential.
    #[error("{0} may not hear {1}: no pattern of its claim `rooms` fits")]
    Audience(Credential, Box<str>),
    /// It says that it is another user than the one of its token.
    #[error("{0} may not be the user {1}")]
    User(Credential, UserId),
    /// Another user is connected under the client id.
    #[error("the client id {0} is in use by another user; connect under another one")]
    ClientId(ClientId),
    /// A browser says that it asks for a page from elsewhere.
    #[error("the origin {0:?} is not allowed here")]
    Origin(Box<str>),
    /// So many tokens from this address were wrong that none is looked at for this time.
    #[error("too many wrong tokens came from this address; try again later")]
    AuthFailures(Duration),
    /// It publishes faster than this rate; there is room for another publish after this time.
    #[error("{0} may publish at most {1}; try again later")]
    PublishRate(Credential, Rate, Duration),
    /// A client sends messages faster than it may.
    #[error("messages come faster than a client may send them")]
    MessageRate,
    /// So many connections are open from its address.
    #[error("this address has {0} connections already; try again later")]
    AddressConnections(NonZeroUsize),
    /// So many connections are open for its user.
    #[error("this user has {0} connections already; try again later")]
    UserConnections(NonZeroUsize),
    /// Too many calls without a credential are open, and this was the oldest.
    #[error(
        "too many calls without a token are open; send the metadata `authorization: Bearer <token>`, or try again later"
    )]
    StrangerCalls,
    /// Too many bytes are held of what is unfinished or unread.
    #[error("{} too many bytes of unfinished requests and unread answers (UNFINISHED_BYTES); finish some, or try again later", .0.holder())]
    Unfinished(Share),
    /// It may have what it asks for, and the service cannot do it; the text says why.
    #[error("{1}")]
    Unserved(Unserved, Arc<str>),
}

impl Error {
    /// What a failure of the journal with this code denies.
    pub fn by_journal(code: Code, why: &impl ToString) -> Self {
        let unserved = if code == Code::Internal { Unserved::Internal } else { Unserved::Journal };
        Self::Unserved(unserved, why.to_string().into())
    }

    /// The denial as callers see it.
    pub fn code(&self) -> Code {
        match self {
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Claim(..)
            | Self::Event(..)
            | Self::Reach(..)
            | Self::Audience(..)
            | Self::User(..)
            | Self::Origin(_) => Code::Forbidden,
            Self::ClientId(_) => Code::Conflict,
            Self::AuthFailures(_)
            | Self::PublishRate(..)
            | Self::MessageRate
            | Self::AddressConnections(_)
            | Self::UserConnections(_)
            | Self::StrangerCalls
            | Self::Unfinished(Share::Address | Share::User) => Code::TooMany,
            Self::Unfinished(Share::Everybody) => Code::Exhausted,
            Self::Unserved(Unserved::Queue, _) => Code::Exhausted,
            Self::Unserved(Unserved::Internal, _) => Code::Internal,
            Self::Unserved(..) => Code::Unavailable,
        }
    }

    /// When it may be tried again, if that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::AuthFailures(wait) | Self::PublishRate(_, _, wait) => Some(*wait),
            _ => None,
        }
    }

    /// The rate that was met.
    pub fn quota(&self) -> Option<Quota> {
        match self {
            Self::PublishRate(_, rate, _) => Some(publish_quotas::told(*rate, 0)),
            _ => None,
        }
    }

    /// What it is called in logs and statistics.
    pub fn reason(&self) -> RejectionReason {
        match self {
            Self::Unauthenticated(None) => RejectionReason::NoToken,
            Self::Unauthenticated(Some(_)) => RejectionReason::BadToken,
            Self::Claim(..) | Self::Event(..) | Self::Reach(..) | Self::Audience(..) | Self::User(..) => {
                RejectionReason::Forbidden
            }
            Self::ClientId(_) => RejectionReason::ClientId,
            Self::Origin(_) => RejectionReason::Origin,
            Self::AuthFailures(_) => RejectionReason::AuthFailures,
            Self::PublishRate(..) => RejectionReason::PublishRate,
            Self::MessageRate => RejectionReason::MessageRate,
            Self::AddressConnections(_) => RejectionReason::AddressConnections,
            Self::UserConnections(_) => RejectionReason::UserConnections,
            Self::StrangerCalls => RejectionReason::StrangerCalls,
            Self::Unfinished(_) => RejectionReason::UnfinishedBytes,
            Self::Unserved(unserved, _) => match unserved {
                Unserved::Draining => RejectionReason::Draining,
                Unserved::Connections => RejectionReason::Connections,
                Unserved::Queue => RejectionReason::PublishQueue,
                Unserved::Unanswered => RejectionReason::Unanswered,
                Unserved::Journal => RejectionReason::JournalUnavailable,
                Unserved::Internal => RejectionReason::Internal,
            },
        }
    }

    /// What a log says of it. Whoever asks is not told what is wrong with its token; who runs the service is.
    pub fn why(&self) -> Cow<'static, str> {
        match self {
            Self::Unauthenticated(None) => "there is no token".into(),
            Self::Unauthenticated(Some(error)) => error.to_string().into(),
            denied => denied.to_string().into(),
        }
    }
}
