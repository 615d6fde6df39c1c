import Encoding

extension ModelConfiguration {
    /// Reads the rotary base and its stretch, in the classic form and in Transformers 5's.
    mutating func readRope(_ box: KeyedDecodingContainer<CodingKeys>) throws {
        let theta = try box.decodeIfPresent(Double.self, forKey: .ropeTheta)
        ropeTheta = theta ?? ropeTheta
        var stretches: [YaRN?] = []
        for key in [CodingKeys.ropeScaling, .ropeParameters] where box.contains(key) {
            guard try !box.decodeNil(forKey: key) else { continue }
            let inner = try box.nestedContainer(keyedBy: YaRN.CodingKeys.self, forKey: key)
            if let base = try inner.decodeIfPresent(Double.self, forKey: .ropeTheta) {
                guard theta == nil || theta == base else {
                    throw Refusal(
                        key: key.rawValue + ".rope_theta",
                        fact: "\(base); rope_theta is \(theta ?? 0)")
                }
                ropeTheta = base
            }
            stretches.append(try Self.stretch(box, key, inner))
        }
        // One of them with its value, and the other with nothing but the base, agree.
        let found = stretches.compactMap { $0 }
        guard found.allSatisfy({ $0 == found[0] }) else {
            throw Refusal(key: "rope_parameters", fact: "differs from rope_scaling")
        }
        yarn = found.first
    }

    /// The stretch that one of the two keys describes, nil for none.
    private static func stretch(
        _ box: KeyedDecodingContainer<CodingKeys>, _ key: CodingKeys,
        _ inner: KeyedDecodingContainer<YaRN.CodingKeys>
    ) throws -> YaRN? {
        let classic = try inner.decodeIfPresent(String.self, forKey: .kind)
        let newer = try inner.decodeIfPresent(String.self, forKey: .newerKind)
        guard classic == nil || newer == nil || classic == newer else {
            throw Refusal(
                key: key.rawValue + ".type",
                fact: "\((classic ?? "").printable()); rope_type is \((newer ?? "").printable())")
        }
        let kind = classic ?? newer ?? "default"
        if kind == "yarn" { return try box.decode(YaRN.self, forKey: key) }
        guard kind == "default" else {
            throw Refusal(
                key: key.rawValue + ".type",
                fact: "\(kind.printable()) is neither yarn nor default")
        }
        for other in YaRN.CodingKeys.ofStretch where try inner.hasValue(other) {
            throw Refusal(
                key: key.rawValue + "." + other.rawValue,
                fact: "has a meaning with rope_type yarn alone; rope_type is default")
        }
        return nil
    }
}

extension KeyedDecodingContainer {
    /// Whether a key is there and not null.
    func hasValue(_ key: Key) throws -> Bool {
        try contains(key) && !decodeNil(forKey: key)
    }
}
