//! HTML as Telegram reads it in messages: few tags, all closed in order, four named entities.

const TAGS: [&str; 11] = ["b", "strong", "i", "em", "u", "s", "code", "pre", "a", "blockquote", "tg-time"];

/// What a person sees of `html`.
pub fn visible(html: &str) -> Result<String, String> {
    let (mut seen, mut open, mut rest) = (String::new(), Vec::new(), html);
    while let Some(at) = rest.find(['<', '&']) {
        seen.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = match rest.strip_prefix('<') {
            Some(tag) => read_tag(tag, &mut open)?,
            None => read_entity(rest, &mut seen)?,
        };
    }
    seen.push_str(rest);
    match open.pop() {
        Some(tag) => Err(format!("can't find end tag corresponding to start tag \"{tag}\"")),
        None => Ok(seen),
    }
}

fn read_tag<'a>(text: &'a str, open: &mut Vec<String>) -> Result<&'a str, String> {
    let (tag, rest) = text.split_once('>').ok_or("unclosed start tag")?;
    if let Some(name) = tag.strip_prefix('/') {
        return match open.pop() {
            Some(expected) if expected == name => Ok(rest),
            Some(_) | None => Err(format!("unmatched end tag \"{name}\"")),
        };
    }
    let name = tag.split(' ').next().unwrap_or_default();
    if !TAGS.contains(&name) {
        return Err(format!("unsupported start tag \"{name}\""));
    }
    open.push(name.to_owned());
    Ok(rest)
}

fn read_entity<'a>(text: &'a str, seen: &mut String) -> Result<&'a str, String> {
    for (entity, character) in [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')] {
        if let Some(rest) = text.strip_prefix(entity) {
            seen.push(character);
            return Ok(rest);
        }
    }
    // Telegram lets a bare one pass; ours never writes one.
    Err("a bare ampersand".to_owned())
}

#[test]
fn markup_is_read_strictly() {
    assert_eq!(visible("a <b>b &lt;i&gt;</b> &amp; c").unwrap(), "a b <i> & c");
    assert_eq!(visible("<blockquote expandable>x</blockquote>").unwrap(), "x");
    for bad in ["<b>", "</b>", "<b><i></b></i>", "a < b", "<script>x</script>", "a & b", "<b"] {
        assert!(visible(bad).is_err(), "{bad}");
    }
}
