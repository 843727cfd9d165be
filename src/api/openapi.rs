//! The OpenAPI 3.1 document, made of the handlers' own declarations and the wire types.

use std::sync::Arc;

use axum::Extension;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, OpenApi as Document, PathItem, Ref, RefOr, ResponseBuilder};
use utoipa::{OpenApi, ToSchema as _};

use super::error::ApiError;
use super::wire::{EndEvent, Event, LogEvent, PROBLEM_JSON, Problem, ResetEvent};

/// What the paths do not say by themselves.
#[derive(OpenApi)]
#[openapi(
    info(title = "lucid", description = "The daemon's control interface, HTTP/1.1 on a Unix socket."),
    components(schemas(Problem, LogEvent, EndEvent, ResetEvent, Event))
)]
struct Base;

/// The document before the routes add themselves.
#[must_use]
pub fn base() -> Document {
    Base::openapi()
}

/// The whole document as text: every operation may answer with a problem.
///
/// # Errors
/// Never with the types there are.
pub fn finish(mut document: Document) -> serde_json::Result<Arc<str>> {
    let reference = RefOr::Ref(Ref::from_schema_name(Problem::name()));
    let problem = ResponseBuilder::new()
        .description("Why it was not done")
        .content(PROBLEM_JSON, ContentBuilder::new().schema(Some(reference)).build())
        .build();
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem.clone()));
        }
    }
    serde_json::to_string(&document).map(Arc::from)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete].into_iter().flatten()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "daemon",
    responses((status = 200, content_type = "application/json", body = String)))]
pub async fn openapi(Extension(Text(text)): Extension<Text>) -> Result<Response, ApiError> {
    Ok(([(CONTENT_TYPE, "application/json")], text.to_string()).into_response())
}

/// The finished document.
#[derive(Debug, Clone)]
pub struct Text(pub Arc<str>);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// The documents grow and never change: a line here may get longer, none may lose a word.
    #[test]
    fn every_document_with_its_fields() {
        let text = finish(crate::api::router::document()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut lines = Vec::new();
        for (name, schema) in schemas {
            let fields = schema["properties"].as_object().map(|fields| fields.keys().cloned().collect());
            let values =
                schema["enum"].as_array().map(|values| values.iter().map(Value::to_string).collect());
            let words: Vec<String> = fields.or(values).unwrap_or_default();
            lines.push(format!("{name}: {}", words.join(" ")));
        }
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn every_operation_says_how_it_fails_and_every_reference_is_there() {
        let text = finish(crate::api::router::document()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            }
        }
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name} is not defined");
        }
    }
}
