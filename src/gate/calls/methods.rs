//! What each method of gRPC asks of its caller: the one table, by which a call is judged before a byte of it is read.

use crate::gate::{Caller, Error};

/// What a caller must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: anybody may ask.
    None,
    /// To be known, unless reading is open.
    Known,
    /// To publish something.
    Publish,
    /// To hear something.
    Hear,
    /// To revoke and disconnect others.
    Administer,
}

/// How the messages of a request come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// There is one, and it comes at once.
    One,
    /// They come one after the other, for as long as the client likes.
    Many,
    /// They come one after the other, and each soon after the one before.
    Dialogue,
}

/// How large a message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Names and no content.
    Small,
    /// Whatever a request may have.
    Request,
    /// More than that: what is too large is rejected singly.
    InStream,
}

/// A method and what it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) right: Needs,
    pub(super) form: Form,
    pub(super) size: Size,
    /// Whether its answer may be large, and is counted while nobody takes it.
    pub(super) counts_answer: bool,
    /// Whether its answer goes on, and is followed through the transport.
    pub(super) follows_answer: bool,
}

const fn method(right: Needs, form: Form, size: Size) -> Method {
    Method { right, form, size, counts_answer: false, follows_answer: false }
}

const fn asking(right: Needs) -> Method {
    Method { counts_answer: true, ..method(right, Form::One, Size::Request) }
}

/// The service of the contract.
const SERVICE: &str = "/exposia.notifications.v1.NotificationService/";

const TABLE: &[(&str, Method)] = &[
    ("Publish", method(Needs::Publish, Form::One, Size::Request)),
    ("PublishStream", method(Needs::Publish, Form::Many, Size::InStream)),
    ("Subscribe", Method { follows_answer: true, ..method(Needs::Hear, Form::One, Size::Request) }),
    ("GetHistory", asking(Needs::Hear)),
    ("GetStats", asking(Needs::Publish)),
    ("ExplainRoute", asking(Needs::Publish)),
    ("RevokeUser", method(Needs::Administer, Form::One, Size::Request)),
    ("Disconnect", method(Needs::Administer, Form::One, Size::Request)),
];

/// The methods of other services, with their whole paths.
const OTHERS: &[(&str, Method)] = &[
    ("/grpc.health.v1.Health/Check", method(Needs::None, Form::One, Size::Small)),
    ("/grpc.health.v1.Health/Watch", method(Needs::None, Form::One, Size::Small)),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", method(Needs::Known, Form::Dialogue, Size::Small)),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        method(Needs::Known, Form::Dialogue, Size::Small),
    ),
];

fn find(table: &[(&str, Method)], name: &str) -> Option<Method> {
    table.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
}

/// The method at `path`, if `caller` may use it; none if there is none. Of the service of the contract nobody without a
/// credential is told which methods there are.
pub(super) fn judge(path: &str, caller: &Caller) -> Result<Option<Method>, Error> {
    let method = match path.strip_prefix(SERVICE) {
        Some(name) => {
            caller.identity()?;
            find(TABLE, name)
        }
        None => find(OTHERS, path),
    };
    match method.map(|method| method.right) {
        Some(Needs::Known) => caller.check_known()?,
        Some(Needs::Publish) => caller.check_publisher()?,
        Some(Needs::Administer) => caller.check_admin()?,
        Some(Needs::Hear | Needs::None) | None => {}
    }
    Ok(method)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::wire::proto::DESCRIPTORS;

    // a method without a row is unknown to everybody, so each must have one
    #[test]
    fn every_method_of_the_service_has_its_row() {
        let files = FileDescriptorSet::decode(DESCRIPTORS).expect("the descriptors are those of the build");
        let services = files.file.iter().flat_map(|file| {
            file.service.iter().map(move |service| (format!("/{}.{}/", file.package(), service.name()), service))
        });
        let mut names = Vec::new();
        for (path, service) in services {
            assert_eq!(path, SERVICE);
            for described in &service.method {
                let row = find(TABLE, described.name()).unwrap_or_else(|| panic!("no row for {}", described.name()));
                assert_eq!(row.form != Form::One, described.client_streaming(), "{}", described.name());
                names.push(described.name().to_owned());
            }
        }
        assert_eq!(names.len(), TABLE.len());
    }
}
