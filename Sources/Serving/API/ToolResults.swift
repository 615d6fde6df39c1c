import Encoding

/// The order of tools' results.
enum ToolResults {
    /// Messages with each run of results in the order of the calls that it answers.
    ///
    /// Templates write no ids, so the model takes the first result for that of the first call. A
    /// run in which a result has no id, or one that no call has, stays as it is.
    static func ordered(_ messages: [JSONValue]) -> [JSONValue] {
        var ordered = messages
        var index = 0
        while index < messages.count {
            let ids = (messages[index]["tool_calls"]?.array ?? []).map { $0["id"]?.string }
            let end =
                messages[(index + 1)...].firstIndex { $0["role"]?.string != "tool" }
                ?? messages.count
            let run = messages[(index + 1) ..< end]
            let places = run.map { result -> Int? in
                guard let id = result["tool_call_id"]?.string else { return nil }
                return ids.firstIndex(of: id)
            }
            if !places.isEmpty, Set(places).count == run.count, !places.contains(nil) {
                let sorted = zip(places.compactMap { $0 }, run).sorted { $0.0 < $1.0 }
                ordered.replaceSubrange((index + 1) ..< end, with: sorted.map(\.1))
            }
            index = end
        }
        return ordered
    }
}
