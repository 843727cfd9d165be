//! Secrets in output: each literal, and the forms it takes when it is encoded, becomes `***` before it is written.
//!
//! Works on a stream: a secret that arrives in two reads is found, and only the bytes that may be the
//! beginning of one are held back.

/// Shorter secrets are not masked: they would tear holes into ordinary words.
pub const MASK_MIN_BYTES: usize = 8;
/// What stands for a secret.
pub const MASK: &[u8] = b"***";

/// Masks one stream.
#[derive(Debug, Default)]
pub struct Masker {
    /// By first byte, each list longest first, so that the first match at a place is the longest. Empty when
    /// there is nothing to mask; most bytes of most output find an empty list.
    patterns: Vec<Vec<Vec<u8>>>,
    held: Vec<u8>,
}

impl Masker {
    pub fn new(secrets: &[String]) -> Self {
        const FIRST_BYTES: usize = 256;
        let mut all: Vec<Vec<u8>> =
            secrets.iter().filter(|s| s.len() >= MASK_MIN_BYTES).flat_map(|s| forms(s.as_bytes())).collect();
        all.retain(|p| p.len() >= MASK_MIN_BYTES);
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        let mut patterns = Vec::new();
        if !all.is_empty() {
            patterns.resize(FIRST_BYTES, Vec::new());
            for pattern in all {
                patterns[usize::from(pattern[0])].push(pattern);
            }
        }
        Self { patterns, held: Vec::new() }
    }

    /// Passes `bytes` on to `write`, masked; the end of them may be held back.
    pub fn feed(&mut self, bytes: &[u8], write: &mut dyn FnMut(&[u8])) {
        if self.patterns.is_empty() {
            write(bytes);
        } else if self.held.is_empty() {
            let kept = self.scan(bytes, write);
            self.held.extend_from_slice(&bytes[kept..]);
        } else {
            let mut whole = std::mem::take(&mut self.held);
            whole.extend_from_slice(bytes);
            let kept = self.scan(&whole, write);
            whole.drain(..kept);
            self.held = whole;
        }
    }

    /// The stream has ended: what was held back is no secret as a whole, but may hold a shorter one.
    pub fn flush(&mut self, write: &mut dyn FnMut(&[u8])) {
        let mut rest = std::mem::take(&mut self.held);
        while !rest.is_empty() {
            let taken = match self.patterns[usize::from(rest[0])].iter().find(|p| rest.starts_with(p)) {
                Some(pattern) => {
                    write(MASK);
                    pattern.len()
                }
                None => {
                    write(&rest[..1]);
                    1
                }
            };
            rest.drain(..taken);
            let kept = self.scan(&rest, write);
            rest.drain(..kept);
        }
    }

    /// Writes what is certain, and returns where the uncertain rest begins.
    fn scan(&self, bytes: &[u8], write: &mut dyn FnMut(&[u8])) -> usize {
        let (mut clean_from, mut at) = (0, 0);
        while at < bytes.len() {
            let candidates = &self.patterns[usize::from(bytes[at])];
            if candidates.is_empty() {
                at += 1;
                continue;
            }
            let rest = &bytes[at..];
            if candidates.iter().any(|p| p.len() > rest.len() && p.starts_with(rest)) {
                break;
            }
            match candidates.iter().find(|p| rest.starts_with(p)) {
                Some(pattern) => {
                    if clean_from < at {
                        write(&bytes[clean_from..at]);
                    }
                    write(MASK);
                    at += pattern.len();
                    clean_from = at;
                }
                None => at += 1,
            }
        }
        if clean_from < at {
            write(&bytes[clean_from..at]);
        }
        at
    }
}

/// A secret as it is, and as programs print it: JSON string, percent-encoded, base64 at each of the three
/// alignments in both alphabets, hexadecimal.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    const LOWER: &[u8; 16] = b"0123456789abcdef";
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    const PLAIN: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut forms = vec![secret.to_vec()];
    if let Ok(quoted) = serde_json::to_string(&String::from_utf8_lossy(secret)) {
        let inner = quoted[1..quoted.len() - 1].to_owned();
        forms.push(inner.replace('/', "\\/").into_bytes());
        forms.push(inner.into_bytes());
    }
    for digits in [LOWER, UPPER] {
        forms.push(secret.iter().flat_map(|b| hex(*b, digits)).collect());
        for blank in [&b"%20"[..], b"+"] {
            forms.push(percent(secret, digits, blank));
        }
    }
    for alphabet in [PLAIN, URL] {
        forms.extend((0..3).map(|before| base64_core(secret, before, alphabet)));
    }
    forms
}

fn hex(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

fn percent(secret: &[u8], digits: &[u8; 16], blank: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(secret.len() * 3);
    for &byte in secret {
        match byte {
            b' ' => out.extend_from_slice(blank),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            _ => {
                out.push(b'%');
                out.extend_from_slice(&hex(byte, digits));
            }
        }
    }
    out
}

/// The characters that `secret` alone decides when it follows `before` other bytes (modulo three).
fn base64_core(secret: &[u8], before: usize, alphabet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    let first = (before * 8).div_ceil(6);
    let past = bytes.len() * 8 / 6;
    (first..past)
        .map(|at| {
            let bit = at * 6;
            let pair = u16::from(bytes[bit / 8]) << 8 | u16::from(*bytes.get(bit / 8 + 1).unwrap_or(&0));
            alphabet[usize::from(pair >> (10 - bit % 8) & 63)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], reads: &[&[u8]]) -> String {
        let secrets: Vec<String> = secrets.iter().map(|s| (*s).to_owned()).collect();
        let mut masker = Masker::new(&secrets);
        let mut out = Vec::new();
        for read in reads {
            masker.feed(read, &mut |b| out.extend_from_slice(b));
        }
        masker.flush(&mut |b| out.extend_from_slice(b));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn found_wherever_the_reads_are_cut() {
        let text = b"a hunter2hunter2 hunter2hunter2b hunter2hunter";
        for cut in 0..text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(masked(&["hunter2hunter2"], &[a, b]), "a *** ***b hunter2hunter", "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(masked(&["hunter2hunter2"], &single), "a *** ***b hunter2hunter");
    }

    #[test]
    fn the_longer_of_two_wins_and_the_shorter_is_not_forgotten() {
        let secrets = ["password", "password-long-one"];
        assert_eq!(masked(&secrets, &[b"password-lo", b"ng-one password-long password"]), "*** ***-long ***");
        assert_eq!(masked(&["aaaaaaab"], &[b"aaaaaaa", b"aaaaaaab"]), "aaaaaaa***");
    }

    #[test]
    fn encoded_forms_are_found() {
        let secret = "s3cr\"et/& \n\u{fc}?~key";
        let json = serde_json::to_string(&format!("x{secret}y")).unwrap();
        assert_eq!(masked(&[secret], &[json.as_bytes()]), "\"x***y\"");
        assert_eq!(masked(&[secret], &[b"k=s3cr%22et%2F%26%20%0A%C3%BC%3F~key&b"]), "k=***&b");
        assert_eq!(masked(&["topsecret"], &[b"746f70736563726574"]), "***");
    }

    #[test]
    fn base64_is_found_at_each_alignment() {
        // `base64` of "topsecretvalue" after 0, 1 and 2 other bytes, with one after it.
        for (encoded, core) in [
            ("dG9wc2VjcmV0dmFsdWUh", "dG9wc2VjcmV0dmFsdW"),
            ("IXRvcHNlY3JldHZhbHVlIQ==", "RvcHNlY3JldHZhbHVl"),
            ("ISF0b3BzZWNyZXR2YWx1ZSE=", "0b3BzZWNyZXR2YWx1Z"),
        ] {
            let out = masked(&["topsecretvalue"], &[encoded.as_bytes()]);
            assert_eq!(out, encoded.replace(core, "***"), "{encoded}");
            assert!(out.contains("***"));
        }
    }

    #[test]
    fn short_secrets_and_no_secrets_change_nothing() {
        assert_eq!(masked(&["short", ""], &[b"short"]), "short");
        assert_eq!(masked(&[], &[b"abc"]), "abc");
    }
}
