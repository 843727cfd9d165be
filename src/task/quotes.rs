//! Quotes of a shell, in a value that YAML reads otherwise.

/// Whether YAML would take the rest of a plain value for a comment where a shell has an open quote.
pub fn is_cut_in_quotes(value: &str) -> bool {
    if !value
        .starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '~' | '$' | '('))
    {
        return false;
    }
    let Some(cut) = [" #", "\t#"].into_iter().filter_map(|mark| value.find(mark)).min() else { return false };
    let (mut open, mut was_open, mut escaped) = (None, false, false);
    for (at, c) in value.char_indices() {
        if at == cut {
            was_open = open.is_some();
        }
        match (open, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '"' | '\'') => open = Some(c),
            (Some(quote), c) if c == quote && at > cut => return was_open,
            (Some(quote), c) if c == quote => open = None,
            _ => {}
        }
    }
    false
}
