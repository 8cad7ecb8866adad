//! A request, made once and sent often.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};

#[derive(Debug, Clone)]
pub struct Shot {
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why something cannot be part of a request.
#[derive(Debug, thiserror::Error)]
pub enum ShotError {
    #[error("{0:?} is no path of a request: expected /PATH[?QUERY]")]
    Path(String),
    #[error(
        "{0:?} is no header of a request: expected a name of letters, digits and -, and a value of visible ASCII"
    )]
    Header(String),
}

impl Shot {
    /// # Errors
    /// [`ShotError::Path`] when `path` is no path with or without a query.
    pub fn get(path: &str) -> Result<Self, ShotError> {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Ok(Self { method: Method::GET, uri: uri(path)?, headers, body })
    }

    /// # Errors
    /// [`ShotError`] when `path` or the content type is not one.
    pub fn post(path: &str, content_type: &str, body: Bytes) -> Result<Self, ShotError> {
        let mut shot = Self { method: Method::POST, body, ..Self::get(path)? };
        shot.set("content-type", content_type)?;
        Ok(shot)
    }

    /// Sets a header.
    ///
    /// # Errors
    /// [`ShotError::Header`] when it can be none.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ShotError> {
        let refused = || ShotError::Header(name.to_owned());
        let key: HeaderName = name.parse().map_err(|_| refused())?;
        let mut value: HeaderValue = value.parse().map_err(|_| refused())?;
        // It may be a key: no log shows it.
        value.set_sensitive(true);
        self.headers.insert(key, value);
        Ok(())
    }
}

fn uri(path: &str) -> Result<Uri, ShotError> {
    // Without a slash in front it could be a whole URL, which leads elsewhere.
    let relative = path.starts_with('/').then(|| path.parse().ok()).flatten();
    relative.ok_or_else(|| ShotError::Path(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in ["livez", "http://8.8.8.8/", "", "/a b", "/\r\n"] {
            let refused = Shot::get(bad).unwrap_err().to_string();
            assert!(refused.contains("expected /PATH"), "{bad}: {refused}");
        }
        assert_eq!(Shot::get("/livez?verbose").unwrap().uri, "/livez?verbose");
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let mut shot = Shot::get("/").unwrap();
        for (name, value) in [("a b", "c"), ("", "c"), ("a", "c\r\nd: e")] {
            assert!(shot.set(name, value).is_err(), "{name}: {value}");
        }
        shot.set("X-Deadline-Ms", "50").unwrap();
        assert_eq!(shot.headers["x-deadline-ms"], "50");
    }
}
