//! Between a call and its flow: the words that one turn may carry.
