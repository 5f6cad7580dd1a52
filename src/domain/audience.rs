//! Who a notification is for.

use std::fmt;

use crate::domain::{NameError, RoomId, UserId};

/// The most users, and the most rooms, that one target may name.
pub const MAX_TARGETS: usize = 100;

/// One group of connections.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// Every connection.
    Everyone,
    /// All connections of a user.
    User(UserId),
    /// The members of a room.
    Room(RoomId),
}

impl fmt::Display for Audience {
    /// As claims name it: `everyone`, `user:7`, `room:tema_1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::User(user) => write!(f, "user:{user}"),
            Self::Room(room) => write!(f, "room:{room}"),
        }
    }
}

/// The groups that one notification is for: at least one, none of them twice.
///
/// A connection that belongs to several of them receives the notification once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences(Box<[Audience]>);

impl Audiences {
    /// A target as publishers give it. One that names nobody is refused: it would deliver to no one.
    pub fn from_target(everyone: bool, users: &[String], rooms: &[String]) -> Result<Self, TargetError> {
        if users.len() > MAX_TARGETS {
            return Err(TargetError::TooMany { field: "users" });
        }
        if rooms.len() > MAX_TARGETS {
            return Err(TargetError::TooMany { field: "rooms" });
        }
        let mut audiences = Vec::with_capacity(usize::from(everyone) + users.len() + rooms.len());
        if everyone {
            audiences.push(Audience::Everyone);
        }
        for user in users {
            let user = UserId::parse(user).map_err(|source| TargetError::Name { field: "users", source })?;
            audiences.push(Audience::User(user));
        }
        for room in rooms {
            let room = RoomId::parse(room).map_err(|source| TargetError::Name { field: "rooms", source })?;
            audiences.push(Audience::Room(room));
        }
        audiences.sort();
        audiences.dedup();
        if audiences.is_empty() {
            return Err(TargetError::Nobody);
        }
        Ok(Self(audiences.into()))
    }

    /// The groups, sorted.
    pub fn as_slice(&self) -> &[Audience] {
        &self.0
    }

    /// About how much memory they take, in bytes.
    pub fn size(&self) -> usize {
        let name = |audience: &Audience| match audience {
            Audience::Everyone => 0,
            Audience::User(user) => user.as_str().len(),
            Audience::Room(room) => room.as_str().len(),
        };
        self.0.iter().map(|audience| 64 + name(audience)).sum()
    }

    /// Whether every connection is meant.
    pub fn everyone(&self) -> bool {
        self.0.first() == Some(&Audience::Everyone)
    }

    /// The users that are named.
    pub fn users(&self) -> impl Iterator<Item = &UserId> {
        self.0.iter().filter_map(|audience| match audience {
            Audience::User(user) => Some(user),
            Audience::Everyone | Audience::Room(_) => None,
        })
    }

    /// The rooms that are named.
    pub fn rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.0.iter().filter_map(|audience| match audience {
            Audience::Room(room) => Some(room),
            Audience::Everyone | Audience::User(_) => None,
        })
    }
}

impl From<Audience> for Audiences {
    fn from(audience: Audience) -> Self {
        Self([audience].into())
    }
}

/// Why a target is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It names no user and no room, and not everyone.
    #[error("target must name a user or a room, or be for everyone")]
    Nobody,
    /// A list is too long.
    #[error("target.{field} must have at most {MAX_TARGETS} entries")]
    TooMany {
        /// Which list.
        field: &'static str,
    },
    /// A name is not one.
    #[error("a name in target.{field} {source}")]
    Name {
        /// Which list.
        field: &'static str,
        /// What is wrong with it.
        source: NameError,
    },
}

impl TargetError {
    /// The field of the target that is wrong; empty for the target as a whole.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::TooMany { field } | Self::Name { field, .. } => field,
        }
    }

    /// The same error of lists that a request has elsewhere than in its target: `path` stands before their names.
    pub fn within(&self, path: &str) -> String {
        match self {
            Self::Nobody => self.to_string(),
            Self::TooMany { field } => format!("{path}{field} must have at most {MAX_TARGETS} entries"),
            Self::Name { field, source } => format!("a name in {path}{field} {source}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_target_is_a_set() {
        let audiences = Audiences::from_target(true, &texts(&["2", "1", "2"]), &texts(&["admin"])).expect("a target");
        assert!(audiences.everyone());
        assert_eq!(audiences.users().map(UserId::as_str).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(audiences.rooms().map(RoomId::as_str).collect::<Vec<_>>(), ["admin"]);
    }

    #[test]
    fn a_target_for_nobody_or_with_bad_names_is_refused() {
        assert_eq!(Audiences::from_target(false, &[], &[]), Err(TargetError::Nobody));
        assert_eq!(
            Audiences::from_target(false, &texts(&[""]), &[]),
            Err(TargetError::Name { field: "users", source: NameError::Empty })
        );
        let many = vec!["x".to_owned(); MAX_TARGETS + 1];
        assert_eq!(Audiences::from_target(false, &[], &many), Err(TargetError::TooMany { field: "rooms" }));
    }
}
