//! Server reflection (v1 and v1alpha): what services there are, and how their messages look. What there is not is answered
//! within the stream, which goes on.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt};
use http::{Uri, uri::PathAndQuery};
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tonic::{Request, Response, Status, Streaming, body::Body, server::NamedService};
use tonic_reflection::pb::{
    v1::{
        self, ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
        ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
        server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
        server_reflection_server::{ServerReflection, ServerReflectionServer},
    },
    v1alpha,
};
use tower::Service;

use crate::{
    domain::Code,
    wire::{proto, status::grpc_code},
};

/// The files that describe what is served, each with those that it imports.
const SETS: [&[u8]; 4] =
    [proto::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET, v1::FILE_DESCRIPTOR_SET, v1alpha::FILE_DESCRIPTOR_SET];

/// Reflection in both of its versions.
pub(super) fn services() -> (ServerReflectionServer<Reflection>, Alpha) {
    let v1 = ServerReflectionServer::new(Reflection(Arc::new(Described::new())));
    (v1.clone(), Alpha(v1))
}

/// What is described.
#[derive(Debug, Default)]
struct Described {
    services: Vec<String>,
    /// The files by their names, encoded.
    files: HashMap<String, Vec<u8>>,
    /// By its whole name, the file of each message, enumeration, service and their parts.
    symbols: HashMap<String, String>,
    /// The symbols that are messages.
    messages: Vec<String>,
}

impl Described {
    fn new() -> Self {
        let mut described = Self::default();
        for set in SETS {
            let set = FileDescriptorSet::decode(set).expect("the descriptors are those of the build");
            set.file.iter().for_each(|file| described.add(file));
        }
        described
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        if self.files.insert(file.name().to_owned(), file.encode_to_vec()).is_some() {
            return;
        }
        let package = file.package();
        for service in &file.service {
            let name = self.symbol(file, package, service.name());
            service.method.iter().for_each(|method| drop(self.symbol(file, &name, method.name())));
            self.services.push(name);
        }
        file.message_type.iter().for_each(|message| self.add_message(file, package, message));
        file.enum_type.iter().for_each(|values| self.add_enum(file, package, values));
    }

    fn add_message(&mut self, file: &FileDescriptorProto, parent: &str, message: &DescriptorProto) {
        let name = self.symbol(file, parent, message.name());
        message.field.iter().for_each(|field| drop(self.symbol(file, &name, field.name())));
        message.oneof_decl.iter().for_each(|oneof| drop(self.symbol(file, &name, oneof.name())));
        message.nested_type.iter().for_each(|nested| self.add_message(file, &name, nested));
        message.enum_type.iter().for_each(|values| self.add_enum(file, &name, values));
        self.messages.push(name);
    }

    fn add_enum(&mut self, file: &FileDescriptorProto, parent: &str, values: &EnumDescriptorProto) {
        let name = self.symbol(file, parent, values.name());
        values.value.iter().for_each(|value| drop(self.symbol(file, &name, value.name())));
    }

    /// Notes where a symbol is described, and gives its whole name.
    fn symbol(&mut self, file: &FileDescriptorProto, parent: &str, name: &str) -> String {
        let name = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        self.symbols.insert(name.clone(), file.name().to_owned());
        name
    }

    /// The answer to a request, which may be that there is none.
    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = self.find(request.message_request.as_ref()).unwrap_or_else(|(code, error_message)| {
            MessageResponse::ErrorResponse(ErrorResponse { error_code: grpc_code(code).into(), error_message })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }

    fn find(&self, request: Option<&MessageRequest>) -> Result<MessageResponse, (Code, String)> {
        let unknown =
            |what: &str, name: &str| (Code::NotFound, format!("there is no {what} `{name}`; list the services"));
        let file = |name: &str| {
            let file = self.files.get(name).ok_or_else(|| unknown("file", name))?;
            Ok(MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto: vec![file.clone()],
            }))
        };
        match request {
            Some(MessageRequest::FileByFilename(name)) => file(name),
            Some(MessageRequest::FileContainingSymbol(name)) => {
                // Names may be written from the root on.
                let name = name.strip_prefix('.').unwrap_or(name);
                file(self.symbols.get(name).ok_or_else(|| unknown("symbol", name))?)
            }
            Some(MessageRequest::FileContainingExtension(extension)) => {
                Err(unknown("extension of", &extension.containing_type))
            }
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => {
                self.messages.iter().find(|message| *message == name).ok_or_else(|| unknown("message", name))?;
                let (base_type_name, extension_number) = (name.clone(), Vec::new());
                let numbers = ExtensionNumberResponse { base_type_name, extension_number };
                Ok(MessageResponse::AllExtensionNumbersResponse(numbers))
            }
            Some(MessageRequest::ListServices(_)) => {
                let service = self.services.iter().map(|name| ServiceResponse { name: name.clone() }).collect();
                Ok(MessageResponse::ListServicesResponse(ListServiceResponse { service }))
            }
            None => Err((Code::Invalid, "say what to describe: a file, a symbol, or all services".to_owned())),
        }
    }
}

/// Serves gRPC reflection.
#[derive(Debug)]
pub(super) struct Reflection(Arc<Described>);

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let described = Arc::clone(&self.0);
        let answers = request.into_inner().map(move |request| request.map(|request| described.answer(request)));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Serves reflection under the name of its older version, too, whose messages are the same.
#[derive(Debug, Clone)]
pub(super) struct Alpha(ServerReflectionServer<Reflection>);

impl NamedService for Alpha {
    const NAME: &'static str = v1alpha::server_reflection_server::SERVICE_NAME;
}

/// The only method, as the newer version has it.
const METHOD: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

impl Service<http::Request<Body>> for Alpha {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = <ServerReflectionServer<Reflection> as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // What is no method of it did not come so far.
        *request.uri_mut() = Uri::from(PathAndQuery::from_static(METHOD));
        self.0.call(request)
    }
}
