//! `lucid api`: one request, its answer as it came.

use std::io::Read as _;

use super::context::Context;
use super::failure::{Exit, Failure};
use crate::platform::client::{ClientError, Method, Request};

/// Bytes that are carried at once.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// GET, POST, PUT, PATCH or DELETE
    #[arg(value_name = "METHOD", value_parser = method)]
    method: Method,
    /// Such as /api/v1/status; characters that are special in a URL are yours to encode
    #[arg(value_name = "PATH")]
    path: String,
    /// The body
    #[arg(value_name = "JSON", value_parser = json)]
    body: Option<String>,
}

fn method(text: &str) -> Result<Method, String> {
    let methods = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];
    let found = methods.into_iter().find(|method| method.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("there are: {}", methods.map(Method::name).join(", ")))
}

fn json(text: &str) -> Result<String, String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// # Errors
/// No answer; one of 400 and above is printed and sets the exit code.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let slash = if args.path.starts_with('/') { "" } else { "/" };
    let mut request = Request::new(args.method, format!("{slash}{}", args.path));
    if let Some(body) = &args.body {
        request = request.json(body.clone().into_bytes());
    }
    let mut answer = context.client()?.send(&request)?;
    let exit = Exit::of_status(answer.status()).unwrap_or(Exit::Done);
    let mut piece = vec![0; PIECE_BYTES];
    let mut last = b'\n';
    loop {
        let read = answer.read(&mut piece).map_err(ClientError::Broken)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        context.print_bytes(bytes)?;
        last = bytes.last().copied().unwrap_or(last);
    }
    if last != b'\n' {
        context.print("\n")?;
    }
    Ok(exit)
}
