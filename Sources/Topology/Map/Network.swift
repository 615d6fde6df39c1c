/// A family of switch networks, with the counts that its closed form gives for one radix.
///
/// Source of the closed forms' results: Insights into DeepSeek-V3, Table 3.
package struct Network: Hashable, Codable, Sendable {
    /// How switches are wired.
    package enum Family: String, Codable, CaseIterable, Sendable {
        /// One switch.
        case oneSwitch = "one-switch"
        /// Leaves and spines.
        case fatTree2 = "fat-tree-2"
        /// Leaves, aggregation and cores.
        case fatTree3 = "fat-tree-3"
        /// McKay-Miller-Siran graph of diameter 2.
        case slimFly = "slim-fly"
        /// Groups of fully joined switches, groups joined by global links.
        case dragonfly
    }

    /// How the planes of a file use the network.
    package enum Planes: String, Codable, CaseIterable, Sendable {
        /// Every plane is a network of its own (multi-plane).
        case separate
        /// All planes enter one network (multi-rail).
        case joined
    }

    /// How switches are wired.
    package var family: Family
    /// Ports of a switch.
    package var radix: Int
    /// How the planes of a file use it.
    package var planes: Planes = .separate
    /// Slim fly: the order of its field.
    package var order: Int?
    /// Dragonfly: groups.
    package var groups: Int?
    /// Dragonfly: switches of a group.
    package var switchesPerGroup: Int?
    /// Dragonfly: endpoints of a switch.
    package var endpointsPerSwitch: Int?
    /// Dragonfly: links of a switch to other groups.
    package var globalLinksPerSwitch: Int?

    /// Names a family; what else it needs is set after.
    package init(
        family: Family, radix: Int, planes: Planes = .separate, order: Int? = nil
    ) {
        self.family = family
        self.radix = radix
        self.planes = planes
        self.order = order
    }

    /// Endpoints, switches, and links between switches.
    package struct Counts: Hashable, Codable, Sendable {
        /// Ports that NICs can be plugged into.
        package var endpoints: Int
        /// Switches.
        package var switches: Int
        /// Links between switches.
        package var links: Int

        package init(endpoints: Int, switches: Int, links: Int) {
            self.endpoints = endpoints
            self.switches = switches
            self.links = links
        }

        static func * (counts: Counts, factor: Int) -> Counts {
            Counts(
                endpoints: counts.endpoints * factor, switches: counts.switches * factor,
                links: counts.links * factor)
        }
    }

    /// What the whole network of one plane, or of all joined planes, has when it is fully built.
    package var countsOfOne: Counts {
        let k = radix
        switch family {
        case .oneSwitch: return Counts(endpoints: k, switches: 1, links: 0)
        case .fatTree2:
            return Counts(endpoints: k * k / 2, switches: 3 * k / 2, links: k * k / 2)
        case .fatTree3:
            return Counts(endpoints: k * k * k / 4, switches: 5 * k * k / 4, links: k * k * k / 2)
        case .slimFly:
            // Besta and Hoefler 2014: 2 q^2 switches of degree (3q - d) / 2, where q = 4w + d and d
            // is -1, 0 or 1; half as many endpoints as links on each switch.
            let q = order ?? 0
            let switches = 2 * q * q
            let degree = Self.slimFlyDegree(q)
            return Counts(
                endpoints: switches * ((degree + 1) / 2), switches: switches,
                links: switches * degree / 2)
        case .dragonfly:
            let (g, a) = (groups ?? 0, switchesPerGroup ?? 0)
            let global = globalLinksPerSwitch ?? 0
            return Counts(
                endpoints: g * a * (endpointsPerSwitch ?? 0), switches: g * a,
                links: g * (a * (a - 1) / 2) + g * a * global / 2)
        }
    }

    /// What the network has over all planes.
    package func counts(planeCount: Int) -> Counts {
        planes == .separate ? countsOfOne * planeCount : countsOfOne
    }

    /// The formulas of `countsOfOne`, for people.
    package var formula: String {
        switch family {
        case .oneSwitch: "endpoints k, one switch"
        case .fatTree2: "endpoints k^2/2, switches 3k/2, links k^2/2"
        case .fatTree3: "endpoints k^3/4, switches 5k^2/4, links k^3/2"
        case .slimFly: "switches 2q^2, degree d = (3q - delta)/2, endpoints ceil(d/2) each"
        case .dragonfly: "endpoints g a p, switches g a, links g a(a-1)/2 + g a h/2"
        }
    }

    static func slimFlyDegree(_ q: Int) -> Int {
        let delta = q % 4 == 1 ? 1 : q % 4 == 3 ? -1 : 0
        return (3 * q - delta) / 2
    }

    /// What the chosen sizes break, or nil: the key, its value and the limit.
    package var fault: (key: String, fact: String)? {
        switch family {
        case .oneSwitch: return nil
        case .fatTree2, .fatTree3:
            return radix.isMultiple(of: 2) ? nil : ("radix", "\(radix) is odd: \(formula)")
        case .slimFly:
            guard let order else { return ("order", "is missing: slim-fly needs it") }
            let degree = Self.slimFlyDegree(order)
            let ports = degree + (degree + 1) / 2
            guard ports <= radix else {
                return ("order", "\(order) needs \(ports) ports of a switch: radix is \(radix)")
            }
            return nil
        case .dragonfly:
            guard let groups, let switchesPerGroup, let endpointsPerSwitch,
                let globalLinksPerSwitch
            else {
                return (
                    "groups",
                    "is missing: dragonfly needs groups, switchesPerGroup, endpointsPerSwitch and "
                        + "globalLinksPerSwitch"
                )
            }
            let ports = endpointsPerSwitch + globalLinksPerSwitch + switchesPerGroup - 1
            guard ports <= radix else {
                return ("radix", "\(radix) ports: a switch of this dragonfly needs \(ports)")
            }
            let most = switchesPerGroup * globalLinksPerSwitch + 1
            guard groups <= most else {
                return ("groups", "\(groups): one global link to each allows at most \(most)")
            }
            return nil
        }
    }
}
