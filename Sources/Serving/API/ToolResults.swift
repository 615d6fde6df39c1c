import Encoding

/// The order of tools' results.
enum ToolResults {
    /// Messages with each run of results in the order of the calls that it answers.
    ///
    /// Templates write no ids, so the model takes the first result for that of the first call. A
    /// run in which a result has no id stays as it is, and so does one after calls without ids.
    ///
    /// - Throws: 400 for an id that no call has, and for a second result of one call.
    static func ordered(_ messages: [JSONValue]) throws(APIError) -> [JSONValue] {
        var ordered = messages
        var index = 0
        while index < messages.count {
            let ids = (messages[index]["tool_calls"]?.array ?? []).map { $0["id"]?.string }
            let end =
                messages[(index + 1)...].firstIndex { $0["role"]?.string != "tool" }
                ?? messages.count
            let run = messages[(index + 1) ..< end]
            let given = run.compactMap { $0["tool_call_id"]?.string }
            if !run.isEmpty, given.count == run.count, !ids.isEmpty, !ids.contains(nil) {
                for (offset, id) in given.enumerated() {
                    guard ids.contains(id), !given[..<offset].contains(id) else {
                        throw unmatched(id, ids.contains(id), at: index + 1 + offset)
                    }
                }
                let places = given.compactMap { ids.firstIndex(of: $0) }
                let sorted = zip(places, run).sorted { $0.0 < $1.0 }
                ordered.replaceSubrange((index + 1) ..< end, with: sorted.map(\.1))
            }
            index = end
        }
        return ordered
    }

    private static func unmatched(_ id: String, _ isSecond: Bool, at index: Int) -> APIError {
        let place = "messages[\(index)].tool_call_id"
        return .invalid(
            "\(place) is \(JSONValue.quoted(id)): "
                + (isSecond
                    ? "this call has a result already"
                    : "the assistant's message before it has no call of this id"),
            parameter: place)
    }
}
