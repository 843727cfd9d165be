//! Files that belong to a ticket.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json as Answer};

use super::auth::Caller;
use super::convert::instant;
use super::error::ApiError;
use super::extract::{Json, LinkPath, TicketPath};
use super::state::Api;
use super::wire::{ContextDocument, ContextLink, ContextLinks, LinkFile, SchemaVersion};
use crate::daemon::Refused;
use crate::platform::glimpse::{self, LOOK_MAX, Look};
use crate::ticket::context::{Link, LinkSource, Linked, NewLink};

/// The files of a ticket, in the order in which they were linked.
#[utoipa::path(get, path = "/api/v1/tickets/{id}/context", tag = "tickets", params(("id" = String, Path)),
    responses((status = 200, body = ContextLinks)))]
pub async fn list(
    State(api): State<Api>,
    TicketPath(id): TicketPath,
) -> Result<Answer<ContextLinks>, ApiError> {
    let links = api.app.tickets.links(&id).await.map_err(Refused::from)?;
    let context = shown(&api, links).await?;
    Ok(Answer(ContextLinks { schema_version: SchemaVersion::default(), context }))
}

/// Links a file; a path that is linked already stays one link.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/context", tag = "tickets", params(("id" = String, Path)),
    request_body = LinkFile,
    responses((status = 201, body = ContextDocument), (status = 200, body = ContextDocument)))]
pub async fn link(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TicketPath(id): TicketPath,
    Json(wish): Json<LinkFile>,
) -> Result<impl IntoResponse, ApiError> {
    let author = caller.author(&id)?;
    let source = wish.source.as_deref().unwrap_or("manual");
    let source = LinkSource::parse(source).ok_or_else(|| {
        ApiError::invalid("invalid_field", format!("`{source}` is neither manual nor auto"))
    })?;
    let new = NewLink { path: wish.path, title: wish.title, source };
    let linked = api.app.tickets.link(&id, new, &author).await.map_err(Refused::from)?;
    let (status, link) = match linked {
        Linked::New(link) => (StatusCode::CREATED, link),
        Linked::Known(link) => (StatusCode::OK, link),
    };
    let link = shown(&api, vec![link]).await?.into_iter().next();
    let link = link.ok_or_else(|| anyhow::anyhow!("a link was not shown"))?;
    Ok((status, Answer(ContextDocument { schema_version: SchemaVersion::default(), link })))
}

/// Takes a file from a ticket; the file itself is not touched.
#[utoipa::path(delete, path = "/api/v1/tickets/{id}/context/{ctx_id}", tag = "tickets",
    params(("id" = String, Path), ("ctx_id" = i64, Path)), responses((status = 204)))]
pub async fn unlink(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    LinkPath { ticket, link }: LinkPath,
) -> Result<StatusCode, ApiError> {
    let author = caller.author(&ticket)?;
    api.app.tickets.unlink(&ticket, link, &author).await.map_err(Refused::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The links with whether their files are there.
async fn shown(api: &Api, links: Vec<Link>) -> Result<Vec<ContextLink>, ApiError> {
    let root = api.app.config.root.clone();
    let look = move || {
        let seen = present(links.iter().map(|link| place(&link.path, &root)).collect(), LOOK_MAX);
        links.into_iter().zip(seen).map(|(link, exists)| show(link, exists)).collect()
    };
    Ok(tokio::task::spawn_blocking(look).await.map_err(anyhow::Error::from)?)
}

/// Whether each of `paths` is there. They are anybody's, so a folder may hang: of what lies in such a one that is not
/// known.
fn present(paths: Vec<Option<PathBuf>>, limit: Duration) -> Vec<Option<bool>> {
    let mut seen = vec![None; paths.len()];
    let mut folders: BTreeMap<PathBuf, Vec<(usize, PathBuf)>> = BTreeMap::new();
    for (at, path) in paths.into_iter().enumerate().filter_map(|(at, path)| Some((at, path?))) {
        folders.entry(path.parent().unwrap_or(&path).to_owned()).or_default().push((at, path));
    }
    let looks = folders.into_iter().map(|(folder, files)| {
        let is_there = |(at, path): (usize, PathBuf)| (at, path.symlink_metadata().is_ok());
        Look::new(&folder, move || files.into_iter().map(is_there).collect::<Vec<_>>())
    });
    for (at, is_there) in glimpse::within(limit, looks.collect()).into_iter().flatten().flatten() {
        if let Some(place) = seen.get_mut(at) {
            *place = Some(is_there);
        }
    }
    seen
}

fn show(link: Link, exists: Option<bool>) -> ContextLink {
    ContextLink {
        id: link.id,
        path: link.path,
        title: link.title,
        source: link.source.name().to_owned(),
        exists,
        created_at: instant(link.at_ms),
        actor: link.actor,
    }
}

/// Where a path leads; none when it climbs: such a one is shown and not followed.
fn place(path: &str, root: &Path) -> Option<PathBuf> {
    let climbs = Path::new(path).components().any(|part| part == Component::ParentDir);
    (!climbs).then(|| root.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_climbs_is_not_followed() {
        let root = Path::new("/srv/site");
        assert_eq!(place("notes/a.md", root), Some("/srv/site/notes/a.md".into()));
        assert_eq!(place("/etc/hosts", root), Some("/etc/hosts".into()));
        for path in ["../../etc/shadow", "a/../../b", ".."] {
            assert_eq!(place(path, root), None, "{path}");
        }
    }

    #[test]
    fn what_lies_where_somebody_hangs_is_neither_there_nor_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (well, hung) = (dir.path().join("well"), dir.path().join("hung"));
        std::fs::create_dir(&well).unwrap();
        std::fs::write(well.join("a"), "").unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let hang = Look::new(&hung, move || {
            let _ = held.recv();
        });
        assert_eq!(glimpse::within(Duration::from_millis(50), vec![hang]), [None]);
        let paths = [well.join("a"), hung.join("b"), well.join("c")].map(Some);
        let seen = present([&paths[..], &[None]].concat(), Duration::from_secs(20));
        assert_eq!(seen, [Some(true), None, Some(false), None]);
        drop(hold);
    }
}
