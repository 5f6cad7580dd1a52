//! Calls of gRPC that hold what they have no right to, or longer than they may: each is judged by its head, every byte that is
//! unfinished or unread is counted, and a right that ends, ends.

mod heads;
mod messages;
mod publishing;
mod refusals;
mod subscribing;

use exposia_notifications::wire::proto::v1::{PublishRequest, publish_request::Body};

const PUBLISH: &str = "exposia.notifications.v1.NotificationService/Publish";
const PUBLISH_STREAM: &str = "exposia.notifications.v1.NotificationService/PublishStream";
const SUBSCRIBE: &str = "exposia.notifications.v1.NotificationService/Subscribe";
const GET_HISTORY: &str = "exposia.notifications.v1.NotificationService/GetHistory";

fn event(name: &str) -> PublishRequest {
    PublishRequest { event: name.into(), ..Default::default() }
}

/// An event whose payload has about so many bytes.
fn large(bytes: usize) -> PublishRequest {
    let payload = format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes));
    PublishRequest { body: Some(Body::PayloadJson(payload.into())), ..event("e") }
}
