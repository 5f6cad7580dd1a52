//! gRPC calls byte by byte, for what the clients of the library do not do: messages without an end, answers that nobody reads.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, body::Body, transport::Channel};
use tower::ServiceExt;

use super::within;

/// A call whose request is not ended before it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    pieces: mpsc::Sender<Result<Frame<Bytes>, Status>>,
    answer: JoinHandle<Response<Body>>,
}

impl Call {
    /// Begins a call of `path`, such as `grpc.health.v1.Health/Check`.
    pub(crate) fn begin(channel: &Channel, path: &str, token: Option<&str>) -> Self {
        Self::begin_with(channel, path, token, &[])
    }

    /// The same with more metadata.
    pub(crate) fn begin_with(channel: &Channel, path: &str, token: Option<&str>, metadata: &[(&str, &str)]) -> Self {
        let (pieces, queue) = mpsc::channel(1);
        let request = Request::post(format!("http://x/{path}")).header("content-type", "application/grpc");
        let request = request.header("te", "trailers");
        let request = match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        };
        let request = metadata.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let body = Body::new(StreamBody::new(ReceiverStream::new(queue)));
        let answering = channel.clone().oneshot(request.body(body).expect("a request"));
        let answer = tokio::spawn(async move { answering.await.expect("an answer") });
        Self { pieces, answer }
    }

    /// Sends bytes as they are, as far as the server takes them.
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) {
        // Whether it took them, its answer tells.
        let _ = within("sending", self.pieces.send(Ok(Frame::data(bytes.into())))).await;
    }

    /// The status, while the request is not ended.
    pub(crate) async fn status(self) -> Status {
        self.answer().await.status().await
    }

    /// Ends the request, and gives the status.
    pub(crate) async fn end(self) -> Status {
        self.ended().await.status().await
    }

    /// Ends the request, and gives the answer.
    pub(crate) async fn ended(self) -> Answering {
        let Self { pieces, answer } = self;
        drop(pieces);
        Answering { response: within("an answer", answer).await.expect("no panic"), _pieces: None }
    }

    /// The answer, while the request is not ended.
    pub(crate) async fn answer(self) -> Answering {
        let response = within("an answer", self.answer).await.expect("no panic");
        Answering { response, _pieces: Some(self.pieces) }
    }
}

/// An answer that is read as far as somebody asks for.
#[derive(Debug)]
pub(crate) struct Answering {
    response: Response<Body>,
    _pieces: Option<mpsc::Sender<Result<Frame<Bytes>, Status>>>,
}

impl Answering {
    /// Reads one piece.
    pub(crate) async fn piece(&mut self) -> Bytes {
        let frame = within("a piece", self.response.body_mut().frame()).await.expect("a frame").expect("no reset");
        frame.into_data().expect("bytes, and no end")
    }

    /// Reads to the end, and gives all of its bytes and the status that is there.
    pub(crate) async fn all(mut self) -> (Vec<u8>, Status) {
        let mut bytes = Vec::new();
        let reading = async {
            while let Some(frame) = self.response.body_mut().frame().await {
                match frame.expect("no reset").into_data() {
                    Ok(piece) => bytes.extend_from_slice(&piece),
                    Err(end) => return Status::from_header_map(&end.into_trailers().expect("trailers")),
                }
            }
            Status::from_header_map(self.response.headers())
        };
        let status = within("the end", reading).await.expect("a status");
        (bytes, status)
    }

    /// Reads to the end, and gives the status that is there.
    pub(crate) async fn status(mut self) -> Status {
        if let Some(status) = Status::from_header_map(self.response.headers()) {
            return status;
        }
        let reading = async {
            while let Some(frame) = self.response.body_mut().frame().await {
                match frame.map(Frame::into_trailers) {
                    Ok(Ok(trailers)) => return Status::from_header_map(&trailers).expect("a status"),
                    Ok(Err(_)) => {}
                    Err(status) => return status,
                }
            }
            panic!("an answer without a status");
        };
        within("a status", reading).await
    }
}

/// A message in its frame.
pub(crate) fn framed(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&announced(message.len())[..], &message].concat()
}

/// What stands before a message of so many bytes.
pub(crate) fn announced(length: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(length).expect("a length").to_be_bytes();
    [0, a, b, c, d]
}
