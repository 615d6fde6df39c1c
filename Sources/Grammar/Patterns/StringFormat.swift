/// The values of `format` that texts are held to, each as a pattern of whole texts.
///
/// The patterns are narrower than what the formats' documents allow where readers disagree: they
/// admit no text that a common reader refuses. Other values of `format` are annotations.
enum StringFormat {
    /// Values of `format`, and the pattern of each.
    private static let patterns: [String: String] = [
        "date": date, "date-time": date + "T" + time + fraction + offset,
        "time": time + fraction + offset, "duration": duration,
        "uuid": uuid("[0-9a-fA-F]", "[0-9a-fA-F]"),
        "uuid1": uuid("1"), "uuid3": uuid("3"), "uuid4": uuid("4"), "uuid5": uuid("5"),
        "uri": uri, "iri": uri, "url": uri, "uri-reference": reference, "iri-reference": reference,
        "email": email, "idn-email": email, "hostname": hostname, "idn-hostname": hostname,
        "ipv4": ipv4, "ipv6": ipv6, "json-pointer": pointer,
        "relative-json-pointer": "(?:0|[1-9]\\d{0,3})(?:#|\(pointer))",
    ]

    /// The pattern of a format; nil for an annotation.
    ///
    /// - Parameters:
    ///   - isPatterned: Whether a pattern stands beside it. Zod's times have no offset and say so
    ///     by their pattern.
    ///   - form: The shorter forms keep the automaton of a format and of what narrows it small.
    static func pattern(_ name: String, isPatterned: Bool, form: Form) -> String? {
        if name == "time", isPatterned { return "^\(time)\(fraction)(?:\(offset))?$" }
        return (form.patterns[name] ?? patterns[name]).map { "^(?:\($0))$" }
    }

    /// The longest text of an unbounded form beside a limit of length that is not higher.
    private static let shortLength = 32
    /// The longest label of a name (RFC 1035). Texts of names and addresses in unbounded forms have
    /// no more characters, so no label has, and nothing before the sign of an address (RFC 5321).
    private static let labelLength = 63
    /// Characters that such a text may have beyond the fewest that are asked for.
    private static let room = 16

    /// The longest text of a form of some formats; nil where it is not limited.
    static func longest(_ names: [String], _ form: Form, _ lengths: PlainSchema.CountRange) -> Int?
    {
        guard !form.isBounded else { return nil }
        let hasLabels = names.contains { $0.hasSuffix("email") || $0.hasSuffix("hostname") }
        guard lengths != PlainSchema.CountRange() else { return hasLabels ? labelLength : nil }
        let most = max(shortLength, lengths.least + room)
        return hasLabels ? min(most, labelLength) : most
    }

    /// How much of a format is written. Automata of bounded parts are large, and beside a length
    /// or a pattern larger by a factor; those of unbounded parts have some ten states.
    enum Form: CaseIterable {
        case whole
        /// Addresses of the web and dotted names alone, in parts of few characters.
        case narrow
        /// The same, in parts of any length.
        case unbounded
        /// All that the whole form has, in parts of any length.
        case wide

        /// Whether its parts have limits, so that its texts have one, too.
        var isBounded: Bool { self == .whole || self == .narrow }

        fileprivate var patterns: [String: String] {
            switch self {
            case .whole: [:]
            case .narrow: StringFormat.narrow
            case .unbounded: StringFormat.unbounded
            case .wide: StringFormat.wide
            }
        }
    }

    /// A pattern that every text of a format satisfies, also those that no form has.
    static func outline(_ name: String) -> String? {
        if name.hasPrefix("idn-") || name.hasPrefix("iri") { return "^\\S*$" }
        if name.hasSuffix("email") { return "^[!-~]+@[!-~]+$" }
        if name.hasSuffix("hostname") { return "^[A-Za-z0-9.-]+$" }
        return hasForms(name) ? "^[!-~]*$" : patterns[name].map { "^(?:\($0))$" }
    }

    /// Whether a format has other forms than the whole one.
    static func hasForms(_ name: String) -> Bool { narrow[name] != nil }

    private static func forms(
        host: String, email: String, uri: String, reference: String? = nil
    ) -> [String: String] {
        [
            "email": email, "idn-email": email, "hostname": host, "idn-hostname": host,
            "uri": uri, "iri": uri, "url": uri, "uri-reference": reference ?? uri,
            "iri-reference": reference ?? uri,
        ]
    }

    private static let narrow: [String: String] = {
        let host = "(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,14}[A-Za-z0-9])?\\.){1,2}[A-Za-z]{2,8}"
        return forms(
            host: host, email: "[A-Za-z0-9_+-]{1,16}(?:\\.[A-Za-z0-9_+-]{1,16})?@\(host)",
            uri: "https?://\(host)(?:/[A-Za-z0-9_.-]{0,24}){0,2}")
    }()

    private static let anyLabel = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    private static let anyDomain = "(?:\(anyLabel)\\.)+[A-Za-z]{2,}"
    private static let anyEmail = "[A-Za-z0-9_+-]+(?:\\.[A-Za-z0-9_+-]+)*@\(anyDomain)"

    private static let unbounded = forms(
        host: anyDomain, email: anyEmail, uri: "https?://\(anyDomain)(?:/[A-Za-z0-9_.-]*)*")

    private static let wide: [String: String] = {
        let host = "(?:\(anyLabel)\\.)*[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
        let path = "(?:/\(segment)*)*"
        let query = "(?:\\?(?:[/?]|\(segment))*)?(?:#(?:[/?]|\(segment))*)?"
        let uri =
            "(?:[A-Za-z][A-Za-z0-9+.-]*://\(host)(?::[1-9]\\d{0,3})?\(path)\(query)"
            + "|(?:urn|mailto|tel|data):[A-Za-z0-9]\(segment)*)"
        return forms(
            host: host, email: anyEmail, uri: uri,
            reference: "(?:\(uri)|/(?:\(segment)+\(path))?\(query))")
    }()

    /// RFC 3339, without the year 0, which Python's calendar does not have.
    private static let year = "(?:000[1-9]|00[1-9]\\d|0[1-9]\\d{2}|[1-9]\\d{3})"
    /// Years that have a 29th of February.
    private static let leap =
        "(?:\\d{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
    private static let date =
        "(?:\(year)-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])"
        + "|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))|\(leap)-02-29)"
    private static let time = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d"
    private static let fraction = "(?:\\.\\d{1,6})?"
    private static let offset = "(?:Z|[+-](?:0\\d|1[0-3]):[0-5]\\d)"

    /// RFC 3339, appendix A: a unit follows the next larger one.
    private static let duration: String = {
        let count = "\\d{1,6}"
        let minutes = "\(count)M(?:\(count)S)?"
        let time = "T(?:\(count)H(?:\(minutes))?|\(minutes)|\(count)S)"
        let months = "\(count)M(?:\(count)D)?"
        let dates = "(?:\(count)Y(?:\(months))?|\(months)|\(count)D)"
        return "P(?:\(dates)(?:\(time))?|\(time)|\(count)W)"
    }()

    private static func uuid(_ version: String, _ variant: String = "[89abAB]") -> String {
        let hex = "[0-9a-fA-F]"
        return "\(hex){8}-\(hex){4}-\(version)\(hex){3}-\(variant)\(hex){3}-\(hex){12}"
    }

    /// At most 7 labels of 33 characters: below the 253 of a whole name.
    private static let label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,31}[A-Za-z0-9])?"
    private static let domain = "(?:\(label)\\.){1,4}[A-Za-z]{2,24}"
    private static let hostname = "(?:\(label)\\.){0,6}[A-Za-z](?:[A-Za-z0-9-]{0,31}[A-Za-z0-9])?"
    /// At most 64 characters before the sign.
    private static let email =
        "[A-Za-z0-9_+-]{1,20}(?:\\.[A-Za-z0-9_+-]{1,20}){0,2}@\(domain)"

    private static let ipv4 =
        "(?:(?:25[0-5]|2[0-4]\\d|1\\d{2}|[1-9]?\\d)\\.){3}(?:25[0-5]|2[0-4]\\d|1\\d{2}|[1-9]?\\d)"

    private static let ipv6: String = {
        let group = "[0-9a-fA-F]{1,4}"
        var forms = ["(?:\(group):){7}\(group)"]
        // What the two colons leave out is at least two groups.
        for before in 0 ... 6 {
            let head = before == 0 ? "" : "\(group)(?::\(group)){\(before - 1)}"
            let after = 6 - before
            let tail = after == 0 ? "" : "(?:\(group)(?::\(group)){0,\(after - 1)})?"
            forms.append("\(head)::\(tail)")
        }
        return "(?:" + forms.joined(separator: "|") + ")"
    }()

    /// RFC 3986 with a host, or with a path alone; below the 2,083 characters that Pydantic allows.
    private static let segment = "(?:[A-Za-z0-9_~!$&'()*+,;=:@.-]|%[0-9A-F]{2})"
    private static let path = "(?:/\(segment){0,60}){0,4}"
    private static let query =
        "(?:\\?(?:[/?]|\(segment)){0,120})?(?:#(?:[/?]|\(segment)){0,60})?"
    private static let uri =
        "(?:[A-Za-z][A-Za-z0-9+.-]{0,15}://\(hostname)(?::[1-9]\\d{0,3})?\(path)\(query)"
        + "|(?:urn|mailto|tel|data):[A-Za-z0-9]\(segment){0,100})"
    private static let reference = "(?:\(uri)|/(?:\(segment){1,100}\(path))?\(query))"

    private static let pointer = "(?:/(?:[^~/]|~[01]){0,100}){0,16}"
}
