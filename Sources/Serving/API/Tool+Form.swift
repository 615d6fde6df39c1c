import Encoding
import Language

extension Tool {
    /// What of a tool a form of calls has no words for, because its marks would end there; nil
    /// where it can write every call.
    ///
    /// Only forms that write arguments member by member are checked: JSON holds any text.
    func fault(in form: CallForm) -> String? {
        if form != .object, name.contains(where: \.isWhitespace) {
            return "the name of tool \(JSONValue.quoted(name)) has white space"
        }
        if form == .fenced || form == .bare || form == .numbered,
            let end = ["`", "{", "<"].first(where: { name.utf8.contains($0.utf8) })
        {
            return "the name of tool \(JSONValue.quoted(name)) has \(end)"
        }
        guard let marks = CallMarks.member(of: form) else { return nil }
        guard !name.utf8.contains(where: { Self.isEnd($0) || $0 <= 0x20 }) else {
            return "the name of tool \(JSONValue.quoted(name)) has one of \" < > or a control"
        }
        let place = "of tool \(JSONValue.quoted(name))"
        for (property, words) in texts {
            // Where the value has a mark of its own, so has the key.
            let isCut =
                marks.value.begin.isEmpty
                ? property.utf8.contains(where: Self.isEnd)
                : property.utf8.contains(marks.key.end.utf8)
            guard !isCut else {
                return "parameter \(JSONValue.quoted(property)) \(place) has "
                    + (marks.value.begin.isEmpty ? "one of \" < >" : marks.key.end)
            }
            guard words.allSatisfy({ !$0.utf8.contains(marks.value.end.utf8) }) else {
                return "a choice of parameter \(JSONValue.quoted(property)) \(place) has "
                    + marks.value.end
            }
        }
        return nil
    }

    /// Whether a byte may end a name among marks as of XML.
    private static func isEnd(_ byte: UInt8) -> Bool {
        [UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">")].contains(byte)
    }
}
