//! The workflow language: documents, cursor, stacks, variables, actions.
