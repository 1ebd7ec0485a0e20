//! Workflows from a folder.
use holdline_actors::door::FlowBook;
use holdline_core::WorkflowId;
use holdline_core::flow::script::Script;
use holdline_core::limit::Limits;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
pub struct FlowLibrary(BTreeMap<WorkflowId, Arc<Script>>);
impl FlowLibrary {
    pub fn open(dir: &Path, limits: &Limits) -> FlowLibrary {
        let declared = holdline_core::flow::action::declared();
        let language =
            holdline_core::flow::parse::Language::new(&declared, holdline_core::flow::action::LATER, limits);
        let mut map = BTreeMap::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(stem) = path.file_stem().and_then(|s| s.to_str()) else { continue };
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let parsed =
                holdline_core::flow::parse::parse(&language, &path.display().to_string(), stem, &text);
            if let Some(script) = parsed.script {
                map.insert(script.id.clone(), Arc::new(script));
            } else {
                eprintln!("{}", parsed.report);
            }
        }
        FlowLibrary(map)
    }
}
impl FlowBook for FlowLibrary {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        self.0.get(id).cloned()
    }
}
