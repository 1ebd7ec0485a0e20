//! The workflows of a folder: read, checked together, and kept in force while their files change.
//!
//! A bad file never hurts another one, and never takes away what worked: its last good version stays in force until
//! the file is mended or gone. Calls under way keep the version that they began with, whatever happens here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use holdline_actors::door::FlowBook;
use holdline_core::WorkflowId;
use holdline_core::flow::diagnostic::{Code, Diagnostic, Place, Report, Severity};
use holdline_core::flow::parse::{self, Language, Parsed, Spans};
use holdline_core::flow::script::{Defaults, Retry, Script};
use holdline_core::flow::source::{Mark, TEXT_BYTES_MAX};
use holdline_core::flow::{Vocabulary, check};
use holdline_core::limit::Limits;

use crate::config::{self, Config};

mod stored;

use stored::Stored;
pub use stored::{NotStored, Shown};

/// Half of the two seconds in which a changed file must be in force.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// A folder with more files than this was not meant to be the folder of the workflows.
const FILES_MAX: usize = 10_000;
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The workflows of `[flows] dir`, by id, each in its last good version, and those that were handed in by the API.
pub struct FlowLibrary {
    dir: PathBuf,
    limits: Limits,
    defaults: Defaults,
    timezone: String,
    vocabulary: Arc<Vocabulary>,
    in_force: RwLock<Arc<BTreeMap<WorkflowId, InForce>>>,
    /// Also makes loads wait for each other.
    shelf: Mutex<Shelf>,
}

/// One file of the folder, as it was read last.
#[derive(Debug, Clone)]
pub struct FlowFile {
    pub file: PathBuf,
    /// What it says that it is, or what its name says.
    pub id: Option<WorkflowId>,
    /// In force, perhaps in an older version than the file's: then there are errors.
    pub script: Option<Arc<Script>>,
    pub report: Report,
}

#[derive(Clone)]
struct InForce {
    script: Arc<Script>,
    /// None: it was handed in by the API.
    file: Option<PathBuf>,
    document: Arc<Document>,
}

#[derive(Default)]
struct Shelf {
    documents: BTreeMap<PathBuf, Shelved>,
    /// What was handed in by the API. A file of the same id goes before it.
    stored: BTreeMap<WorkflowId, Stored>,
    /// The folder could not be read; it is said once.
    lost: bool,
}

struct Shelved {
    stamp: Stamp,
    document: Arc<Document>,
    /// The document's own problems and those that it has with the others.
    report: Report,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

struct Document {
    text: String,
    script: Option<Arc<Script>>,
    spans: Spans,
    report: Report,
}

impl FlowLibrary {
    /// Reads the folder. What is wrong in it is logged, and can be asked for; the rest is in force.
    pub fn load(config: &Config) -> FlowLibrary {
        FlowLibrary::load_in(config, Arc::default())
    }

    /// As [`FlowLibrary::load`], in words of one's own.
    pub fn load_in(config: &Config, vocabulary: Arc<Vocabulary>) -> FlowLibrary {
        let library = FlowLibrary::empty(config, vocabulary);
        library.reload();
        library
    }

    /// For workflows that are all handed in: nobody misses the folder.
    pub fn without_folder(config: &Config, vocabulary: Arc<Vocabulary>) -> FlowLibrary {
        let library = FlowLibrary::empty(config, vocabulary);
        library.shelf().lost = true;
        library
    }

    fn empty(config: &Config, vocabulary: Arc<Vocabulary>) -> FlowLibrary {
        FlowLibrary {
            dir: config.flows.dir.clone(),
            limits: config.limits.clone(),
            defaults: defaults(config),
            timezone: config.flows.timezone.clone(),
            vocabulary,
            in_force: RwLock::default(),
            shelf: Mutex::default(),
        }
    }

    /// Reads everything again, changed or not.
    pub fn reload(&self) {
        let mut shelf = self.shelf();
        shelf.documents.clear();
        shelf.lost = false;
        self.take(&mut shelf, true);
    }

    /// Takes what has changed since the last time. Reads the disk: not for a thread that carries calls.
    pub fn poll(&self) -> bool {
        self.take(&mut self.shelf(), false)
    }

    /// Polls as long as the library lives. Must be called inside a runtime.
    pub fn watch(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let library = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(POLL_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(library) = library.upgrade() else { return };
                // A panic of one poll must not end the polling.
                let _ = tokio::task::spawn_blocking(move || library.poll()).await;
            }
        })
    }

    /// The folder that a workflow's sound files are relative to. A workflow whose file is gone may still be running,
    /// from this same folder.
    pub fn folder(&self, id: &WorkflowId) -> PathBuf {
        let in_force = self.in_force();
        let own = in_force.get(id).and_then(|flow| flow.file.as_ref()?.parent());
        own.unwrap_or(&self.dir).to_owned()
    }

    /// What is in force, by id.
    pub fn scripts(&self) -> Vec<Arc<Script>> {
        self.in_force().values().map(|flow| flow.script.clone()).collect()
    }

    /// Every file, good or bad, in the order of their names. Waits for a load that is under way.
    pub fn files(&self) -> Vec<FlowFile> {
        let in_force = self.in_force();
        let scripts: BTreeMap<&PathBuf, &Arc<Script>> =
            in_force.values().filter_map(|flow| Some((flow.file.as_ref()?, &flow.script))).collect();
        let shelf = self.shelf();
        let files = shelf.documents.iter().map(|(file, shelved)| FlowFile {
            file: file.clone(),
            id: shelved.document.id().cloned(),
            script: scripts.get(file).map(|script| Arc::clone(script)),
            report: shelved.report.clone(),
        });
        files.collect()
    }

    /// Looks at what the workflows in force mention.
    pub(crate) fn with_spans<T>(&self, look: impl FnOnce(&[&Spans]) -> T) -> T {
        let in_force = self.in_force();
        let spans: Vec<&Spans> = in_force.values().map(|flow| &flow.document.spans).collect();
        look(&spans)
    }

    fn in_force(&self) -> Arc<BTreeMap<WorkflowId, InForce>> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, shelf: &mut Shelf, anyway: bool) -> bool {
        let found = match workflow_files(&self.dir) {
            Ok(found) => found,
            Err(error) => {
                // A folder that is away for a moment (a mount, a deployment) deletes nothing.
                if !shelf.lost {
                    let dir = self.dir.display();
                    tracing::error!(%dir, %error, "the folder of the workflows cannot be read; what is in force stays");
                }
                shelf.lost = true;
                return false;
            }
        };
        shelf.lost = false;
        let stamped: Vec<(PathBuf, Stamp)> =
            found.into_iter().map(|file| (file.clone(), Stamp::of(&file))).collect();
        let known = stamped.len() == shelf.documents.len();
        let unchanged = |(file, stamp): &(PathBuf, Stamp)| {
            shelf.documents.get(file).is_some_and(|old| old.stamp == *stamp)
        };
        if !anyway && known && stamped.iter().all(unchanged) {
            return false;
        }
        let documents = self.read(stamped, shelf);
        self.judge(documents, shelf);
        true
    }

    /// What its documents may say.
    pub(crate) fn language(&self) -> Language<'_> {
        self.vocabulary.configured(&self.limits, &self.defaults, &self.timezone)
    }

    /// Each file's document; unchanged ones are not read again.
    fn read(&self, stamped: Vec<(PathBuf, Stamp)>, shelf: &Shelf) -> Vec<(PathBuf, Stamp, Arc<Document>)> {
        let language = self.language();
        let read = |(file, stamp): (PathBuf, Stamp)| {
            let old = shelf.documents.get(&file).filter(|old| old.stamp == stamp);
            let document = match old {
                Some(old) => old.document.clone(),
                None => Arc::new(Document::read(&language, &file)),
            };
            (file, stamp, document)
        };
        stamped.into_iter().map(read).collect()
    }

    /// Checks the documents together and puts the good ones in force.
    fn judge(&self, mut documents: Vec<(PathBuf, Stamp, Arc<Document>)>, shelf: &mut Shelf) {
        let before = self.in_force();
        // A new file cannot take the id of a workflow that is in force from another file.
        let held: BTreeSet<&PathBuf> = before.values().filter_map(|flow| flow.file.as_ref()).collect();
        documents.sort_by_cached_key(|(file, ..)| !held.contains(file));
        let spans: Vec<&Spans> = documents.iter().map(|(.., document)| &document.spans).collect();
        // A file that can't even be read may still be named by the id that its last good version has.
        let is_bad = |document: &Document| !document.report.is_ok();
        let bad: BTreeSet<&PathBuf> =
            documents.iter().filter(|(.., document)| is_bad(document)).map(|(file, ..)| file).collect();
        let kept = before.values().filter(|flow| flow.file.as_ref().is_none_or(|file| bad.contains(file)));
        let kept: Vec<&Spans> = kept.map(|flow| &flow.document.spans).collect();
        let mut together = by_file(check::check_all(&spans, &kept));

        let mut now = BTreeMap::new();
        let mut shelved = BTreeMap::new();
        for (file, stamp, document) in documents {
            let mut report = document.report.clone();
            report.merge(together.remove(&document.spans.file).unwrap_or_default());
            report.sort();
            if let (true, Some(script)) = (report.is_ok(), &document.script) {
                let (script, document) = (script.clone(), document.clone());
                now.insert(script.id.clone(), InForce { script, file: Some(file.clone()), document });
            }
            shelved.insert(file, Shelved { stamp, document, report });
        }
        for (id, flow) in before.iter() {
            let shelved = flow.file.as_ref().and_then(|file| shelved.get(file));
            let refused = shelved.is_some_and(|shelved| !shelved.report.is_ok());
            if refused {
                now.entry(id.clone()).or_insert_with(|| flow.clone());
            }
        }
        for (id, stored) in &shelf.stored {
            if let Some(flow) = stored.in_force() {
                now.entry(id.clone()).or_insert(flow);
            }
        }
        say(&shelf.documents, &shelved, &now);
        shelf.documents = shelved;
        for id in before.keys().filter(|id| !now.contains_key(id)) {
            tracing::info!(workflow = %id.0, "the workflow is gone; no new call can start it");
        }
        tracing::info!(workflows = now.len(), dir = %self.dir.display(), "workflows are in force");
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
    }
}

impl FlowBook for FlowLibrary {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        self.in_force().get(id).map(|flow| flow.script.clone())
    }

    fn scripts(&self) -> Vec<Arc<Script>> {
        FlowLibrary::scripts(self)
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }
}

/// Everything there is to say about these workflow files. They may name each other, and the workflows of the
/// configured folder.
pub fn check_documents(files: &[PathBuf], config: &Config) -> Report {
    let defaults = defaults(config);
    let language = Vocabulary::standard().configured(&config.limits, &defaults, &config.flows.timezone);
    let read = |files: &[PathBuf]| -> Vec<Document> {
        files.iter().map(|file| Document::read(&language, file)).collect()
    };
    let canonical = |file: &PathBuf| fs::canonicalize(file).unwrap_or_else(|_| file.clone());
    let given: Vec<PathBuf> = files.iter().map(canonical).collect();
    // A missing folder holds no workflows; whether it should be there is asked when nothing else is.
    let mut others = workflow_files(&config.flows.dir).unwrap_or_default();
    others.retain(|file| !given.contains(&canonical(file)));

    let (documents, others) = (read(files), read(&others));
    let spans: Vec<&Spans> = documents.iter().map(|document| &document.spans).collect();
    let in_force: Vec<&Spans> = others.iter().map(|document| &document.spans).collect();
    let mut report = check::check_all(&spans, &in_force);
    for document in documents {
        report.merge(document.report);
    }
    report.sort();
    report
}

/// `[retry]` and `[http] timeout`, as scripts keep them.
pub(crate) fn defaults(config: &Config) -> Defaults {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config::Retry { attempts, initial, factor, max } = config.retry;
    Defaults {
        retry: Retry {
            attempts,
            initial_ms: millis(initial),
            factor,
            max_ms: millis(max),
            ..Defaults::default().retry
        },
        timeout_ms: millis(config.http.timeout),
    }
}

/// The workflow files of a folder, without its subfolders, by name. Hidden ones belong to editors.
pub fn workflow_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || !is_workflow_file(&path) || path.is_dir() {
            continue;
        }
        if files.len() >= FILES_MAX {
            return Err(io::Error::other(format!("expected at most {FILES_MAX} workflow files, got more")));
        }
        files.push(path);
    }
    files.sort();
    Ok(files)
}

/// By its name.
pub fn is_workflow_file(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

impl Stamp {
    fn of(file: &Path) -> Stamp {
        match fs::metadata(file) {
            Ok(metadata) => Stamp { modified: metadata.modified().ok(), bytes: metadata.len() },
            Err(_) => Stamp { modified: None, bytes: 0 },
        }
    }
}

impl Document {
    fn read(language: &Language<'_>, file: &Path) -> Document {
        let name = file.display().to_string();
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        match read_text(file) {
            Ok(text) => Document { text: text.clone(), ..parse::parse(language, &name, &stem, &text).into() },
            Err(why) => Document::unreadable(name, stem, &why),
        }
    }

    /// Others may still name it: one broken file is one problem.
    fn unreadable(file: String, stem: String, why: &str) -> Document {
        let place = Place { path: String::new(), at: Mark::START };
        let mut report = Report::default();
        report.add(Diagnostic {
            file: file.clone(),
            line: place.at.line,
            column: place.at.column,
            path: "document".to_owned(),
            code: Code::Syntax,
            message: format!("cannot be read: {why}"),
            suggestion: None,
            severity: Severity::Error,
        });
        let spans = Spans { file, id: Some((WorkflowId(stem), place)), ..Spans::default() };
        Document { text: String::new(), script: None, spans, report }
    }

    fn id(&self) -> Option<&WorkflowId> {
        self.spans.id.as_ref().map(|(id, _)| id)
    }
}

impl From<Parsed> for Document {
    fn from(Parsed { script, spans, report }: Parsed) -> Document {
        Document { text: String::new(), script: script.map(Arc::new), spans, report }
    }
}

fn read_text(file: &Path) -> Result<String, String> {
    // Opening a pipe would wait for somebody who writes into it.
    if !fs::metadata(file).map_err(|error| error.to_string())?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the parser can say that it is too long.
    let reader = File::open(file).map_err(|error| error.to_string())?;
    reader.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(format!("expected at most {TEXT_BYTES_MAX} bytes, got more"));
    }
    String::from_utf8(bytes).map_err(|error| format!("expected UTF-8, got something else: {error}"))
}

fn by_file(report: Report) -> BTreeMap<String, Report> {
    let mut files: BTreeMap<String, Report> = BTreeMap::new();
    for diagnostic in report.errors.into_iter().chain(report.warnings) {
        files.entry(diagnostic.file.clone()).or_default().add(diagnostic);
    }
    files
}

/// Logs what is wrong now and was not known before: an unmended file is not complained about every second.
fn say(
    before: &BTreeMap<PathBuf, Shelved>,
    now: &BTreeMap<PathBuf, Shelved>,
    in_force: &BTreeMap<WorkflowId, InForce>,
) {
    let kept: BTreeSet<&PathBuf> = in_force.values().filter_map(|flow| flow.file.as_ref()).collect();
    for (file, shelved) in now {
        let known =
            before.get(file).is_some_and(|old| old.report == shelved.report && old.stamp == shelved.stamp);
        if known {
            continue;
        }
        for diagnostic in &shelved.report.errors {
            tracing::error!(code = %diagnostic.code, "{diagnostic}");
        }
        for diagnostic in &shelved.report.warnings {
            tracing::warn!(code = %diagnostic.code, "{diagnostic}");
        }
        if !shelved.report.is_ok() {
            let kept = kept.contains(file);
            let errors = shelved.report.errors.len() + shelved.report.left_out;
            let outcome = if kept { "its last good version stays in force" } else { "it is not in force" };
            tracing::error!(file = %file.display(), errors, "the workflow file is refused; {outcome}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "tasks:\n  - type: talk\n    parameters: { text: hello }\n";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Folder {
            let folder = Folder(tempfile::tempdir().unwrap());
            files.iter().for_each(|(name, text)| folder.write(name, text));
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn config(&self) -> Config {
            let mut config = Config::default();
            config.flows.dir = self.0.path().to_owned();
            config
        }

        fn library(&self) -> FlowLibrary {
            FlowLibrary::load(&self.config())
        }
    }

    fn said(library: &FlowLibrary, id: &str) -> Option<String> {
        let script = library.find(&WorkflowId(id.to_owned()))?;
        Some(script.actions[0].parameters["text"].as_str().unwrap().to_owned())
    }

    #[test]
    fn times_that_name_no_zone_are_in_the_configured_one() {
        let folder = Folder::new(&[("a.yaml", GOOD)]);
        let mut config = folder.config();
        config.flows.timezone = "Europe/Berlin".to_owned();
        let script = FlowLibrary::load(&config).find(&WorkflowId("a".to_owned())).unwrap();
        assert_eq!(script.timezone, "Europe/Berlin");
    }

    #[test]
    fn retries_and_timeouts_are_the_configured_ones_unless_a_document_says_otherwise() {
        let own = format!("retry: {{ attempts: 7 }}\n{GOOD}");
        let folder = Folder::new(&[("a.yaml", GOOD), ("b.yaml", &own)]);
        let mut config = folder.config();
        config.retry = config::Retry {
            attempts: 5,
            initial: Duration::from_millis(1500),
            factor: 3.0,
            max: Duration::from_secs(9),
        };
        config.http.timeout = Duration::from_secs(4);
        let library = FlowLibrary::load(&config);
        let script = |id: &str| library.find(&WorkflowId(id.to_owned())).unwrap();
        let Defaults { retry, timeout_ms } = &script("a").defaults;
        assert_eq!((retry.attempts, retry.initial_ms, retry.factor, retry.max_ms), (5, 1500, 3.0, 9000));
        assert_eq!(*timeout_ms, 4000);
        assert_eq!(script("b").retry, Some(Retry { attempts: 7, ..retry.clone() }));
    }

    #[test]
    fn a_bad_file_is_refused_alone_and_its_last_good_version_stays() {
        let folder = Folder::new(&[("a.yaml", GOOD), ("b.yml", GOOD), ("bad.json", "{"), (".c.yaml", "x")]);
        let library = folder.library();
        assert!(said(&library, "a").is_some() && said(&library, "b").is_some());
        assert_eq!(said(&library, "bad"), None);
        assert!(!library.poll(), "nothing has changed");

        folder.write("a.yaml", "tasks:\n  - type: tlak\n");
        folder.write("b.yml", &GOOD.replace("hello", "good bye"));
        assert!(library.poll());
        assert_eq!(said(&library, "a").as_deref(), Some("hello"));
        assert_eq!(said(&library, "b").as_deref(), Some("good bye"));
        let files = library.files();
        assert_eq!(files.len(), 3);
        assert!(files[0].script.is_some() && !files[0].report.is_ok(), "{:?}", files[0]);
        assert_eq!(files[0].report.errors[0].suggestion.as_deref(), Some("talk"));

        folder.write("names.yaml", &format!("on_complete_flow_id: second\n{GOOD}"));
        folder.write("b.yml", &format!("id: second\n{GOOD}"));
        assert!(library.poll() && said(&library, "names").is_some());
        folder.write("b.yml", "{");
        folder
            .write("names.yaml", &format!("on_complete_flow_id: second\n{}", GOOD.replace("hello", "still")));
        assert!(library.poll());
        assert!(said(&library, "second").is_some(), "its file cannot be read, but it is in force");
        assert_eq!(said(&library, "names").as_deref(), Some("still"), "so it may be named");

        folder.write("a.yaml", &GOOD.replace("hello", "mended"));
        assert!(library.poll());
        assert_eq!(said(&library, "a").as_deref(), Some("mended"));
    }

    #[test]
    fn a_deleted_file_is_gone_for_new_starts_but_a_folder_that_is_away_deletes_nothing() {
        let folder = Folder::new(&[("a.yaml", GOOD), ("b.yaml", GOOD)]);
        let library = folder.library();
        fs::remove_file(folder.path("a.yaml")).unwrap();
        assert!(library.poll());
        assert_eq!((said(&library, "a"), said(&library, "b").as_deref()), (None, Some("hello")));
        fs::rename(folder.0.path(), folder.0.path().with_extension("away")).unwrap();
        assert!(!library.poll());
        library.reload();
        assert_eq!(said(&library, "b").as_deref(), Some("hello"));
        fs::rename(folder.0.path().with_extension("away"), folder.0.path()).unwrap();
        library.reload();
        assert_eq!(said(&library, "b").as_deref(), Some("hello"));
        fs::remove_file(folder.path("b.yaml")).unwrap();
        library.reload();
        assert_eq!(said(&library, "b"), None);
    }

    #[test]
    fn a_new_file_cannot_take_the_id_of_a_workflow_that_is_in_force() {
        let folder = Folder::new(&[("b.yaml", &format!("id: same\n{GOOD}"))]);
        let library = folder.library();
        folder.write("a.yaml", &format!("id: same\n{}", GOOD.replace("hello", "usurped")));
        assert!(library.poll());
        assert_eq!(said(&library, "same").as_deref(), Some("hello"));
        assert_eq!(library.files()[0].report.errors[0].code, Code::DuplicateWorkflow);
        fs::remove_file(folder.path("b.yaml")).unwrap();
        assert!(library.poll());
        assert_eq!(said(&library, "same").as_deref(), Some("usurped"));
    }

    #[test]
    fn checked_files_may_name_each_other_and_those_of_the_folder_but_nothing_else() {
        let starts = |other: &str| format!("on_complete_flow_id: {other}\n{GOOD}");
        let folder = Folder::new(&[("stands.yaml", GOOD)]);
        let given = Folder::new(&[
            ("a.yaml", &starts("stands")),
            ("b.yaml", &starts("a")),
            ("c.yaml", &starts("stnads")),
        ]);
        let files: Vec<PathBuf> =
            ["a.yaml", "b.yaml", "c.yaml", "none.yaml"].map(|name| given.path(name)).into();
        let report = check_documents(&files, &folder.config());
        let errors: Vec<(String, Option<&str>)> =
            report.errors.iter().map(|e| (e.file.clone(), e.suggestion.as_deref())).collect();
        let name = |index: usize| files[index].display().to_string();
        assert_eq!(errors, [(name(2), Some("stands")), (name(3), None)], "{report}");
        assert!(
            check_documents(&[folder.path("stands.yaml")], &folder.config()).is_ok(),
            "no duplicate of itself"
        );
    }
}
