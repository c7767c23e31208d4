//! DingTalk's codes, one row each: the rule that follows and the cure that a person needs. The names
//! are DingTalk's own, typing errors included. It knows no HTTP.

use super::super::answer::Words;
use super::refusal::Call;

/// What a code means, before it is known what was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Never, as it stands.
    Permanent,
    /// Never, until a permission is granted.
    Permission,
    /// It may have been sent.
    Ambiguous,
    /// Overload: in doubt with a 500, later with any other status.
    Busy,
    /// A fault inside: later with a status that says so, in doubt with any other.
    Fault,
    /// Not now; again after so many seconds.
    Later(u64),
    /// Too many calls a second.
    Qps,
    /// Too many calls a minute.
    Qpm,
    /// The webhook is muted for having been used too often.
    Mute,
    /// The access token is not valid.
    Token,
    /// The session of the webhook is not valid.
    Session,
    /// The quota of the month is used up.
    Month,
    /// Nothing of the account goes through until a person acts.
    Hold,
    /// The address of this host is banned.
    Ban,
}

const CREDENTIALS: &str = "check client_id and client_secret against 凭证与基础信息 / Credentials and Basic Info of the app in the developer console (open-dev.dingtalk.com)";
const ADDRESS: &str = "add the address of this host to 服务器出口IP under 安全设置 / Security Settings of the app in the developer console (open-dev.dingtalk.com)";
const ROBOT: &str = "enable the robot under 机器人 / Robot of the app in the developer console, publish a version, and use the Client ID of that app as robot_code";
const COOL_APP: &str = "install the robot into the group through its group cool app (酷应用 / Cool App page of the app in the developer console)";
const MEMBER: &str = "put the robot back into the group or enable it: group settings, 机器人 / Robots; app page 机器人 / Robot in the developer console";
const TEMPLATE: &str =
    "publish the message template again in the developer console, or send another msg_key";
const MUTED: &str =
    "lift the ban on speaking for the robot: group settings, 群管理 / Group management";
const DIRECT: &str = "publish the app for the user: 版本管理与发布 / Version Management with that user in its visible range, robot enabled, in the developer console";
const CARD_TEMPLATE: &str = "publish the template in the card platform (open-dev.dingtalk.com, 卡片平台 / Card Platform) under the app of this account, and set card_template to its id";
const CARD_KEY: &str = "the template lacks the variable that is streamed: set card_key of the account to a variable of card_template";
const CARD_SPACE: &str =
    "the robot must be in the group, and the user in the organisation of the app";
const CARD_ID: &str = "outTrackId has at most 64 characters";
const EXPIRED: &str = "download codes end soon and belong to one robot: fetch at once, with the robot_code that got the message";
const RECALL: &str =
    "messages are recalled by the robot that sent them, within 24 hours, at most 20 at once";
const FORMAT: &str = "image: jpg, gif, png, bmp; audio: amr, mp3, wav; video: mp4; file: doc, docx, xls, xlsx, ppt, pptx, zip, pdf, rar";
const SIZE: &str = "at most 20 MB, audio at most 2 MB";
const CLOCK: &str = "set the clock of this host: signatures hold for an hour";
const ROBOT_URL: &str = "copy the webhook of the robot anew from the group settings, 机器人 / Robots, into the configuration of the account";
const ACCESS: &str = "grant qyapi_robot_sendmsg under 权限管理 / Permissions of the app in the developer console (open-dev.dingtalk.com)";
const SECURITY: &str = "change the robot's 安全设置 / Security Settings (keywords, signature, addresses): group settings, 机器人 / Robots";
const QUOTA: &str = "the monthly quota of the organisation is used up: extend it under 资源管理 / Resources in the developer console, or wait for the month to turn";
const AT_ALL: &str = "allow everybody to @ all: group settings, 群管理 / Group management";
const STAFF: &str = "use the userId (staffId) of a member of the organisation";
const SHORTER: &str = "send less text in one message";
/// Cure of a call that was redirected.
pub(super) const REDIRECTED: &str = "dingtalk.api_url and dingtalk.oapi_url must name hosts that answer themselves: check them and the proxy";
/// Cure of a call that the proxy refused.
pub(super) const PROXY: &str = "check user and password in dingtalk.proxy";
/// Cure of a path that the host does not know.
pub(super) const HOST: &str = "check that dingtalk.api_url and dingtalk.oapi_url name DingTalk";
/// Cure of a 403 without a reason.
pub(super) const FORBIDDEN: &str = "DingTalk gave no reason: check 权限管理 / Permissions and 服务器出口IP / address whitelist of the app in the developer console";
/// Cure of a ban.
pub(super) const BANNED: &str = "this host's address calls DingTalk too often or stands behind a firewall: check what else calls from it";

/// What cures a missing permission: DingTalk names it, else it is the one that the call is known to
/// need.
pub(super) fn permission_cure(call: Call, scopes: &[String]) -> String {
    let needed = match call {
        Call::Card => "Card.Instance.Write",
        Call::CardStream => "Card.Streaming.Write",
        Call::Upload => "qyapi_base",
        Call::Contact => "qyapi_get_member",
        Call::Token
        | Call::Robot
        | Call::Webhook
        | Call::CustomRobot
        | Call::Recall
        | Call::Emotion
        | Call::Query => "qyapi_robot_sendmsg",
    };
    let scopes = match scopes {
        [] => needed.to_owned(),
        named => named.join(", "),
    };
    format!(
        "grant {scopes} under 权限管理 / Permissions of the app in the developer console (open-dev.dingtalk.com)"
    )
}

/// The rule for a code and what cures it; `None` for a code that no table knows.
///
/// The rate limits stand first: they share a prefix with the missing permissions (oapi.md, 9.2).
pub(super) fn rule(call: Call, words: &Words) -> Option<(Rule, Option<&'static str>)> {
    let code = words.code.as_str();
    let lower = code.to_ascii_lowercase();
    if lower.contains("qpslimit") || lower.starts_with("throttling") {
        return Some((Rule::Qps, None));
    }
    if lower.contains("qpmlimit") {
        return Some((Rule::Qpm, None));
    }
    if lower.contains("apicountlimit") {
        return Some((Rule::Month, Some(QUOTA)));
    }
    if let Some((rule, cure)) = by_call(call, words) {
        return Some((rule, (!cure.is_empty()).then_some(cure)));
    }
    let numbered = code
        .trim_start_matches('-')
        .bytes()
        .all(|b| b.is_ascii_digit());
    let table = if numbered { LEGACY } else { NAMED };
    let exact = table.iter().find(|row| row.0.eq_ignore_ascii_case(code));
    let row = exact.or_else(|| {
        let starts = |prefix: &str| lower.starts_with(&prefix.to_ascii_lowercase());
        FAMILIES.iter().find(|row| starts(row.0))
    });
    let (_, rule, cure) = *row?;
    Some((rule, (!cure.is_empty()).then_some(cure)))
}

/// Codes that mean something else, or something more, to one kind of call.
fn by_call(call: Call, words: &Words) -> Option<(Rule, &'static str)> {
    let said = |word: &str| words.message.contains(word);
    match (call, words.code.as_str()) {
        // These say that the address is of no use, not that the message is.
        (
            Call::Webhook | Call::CustomRobot,
            "token.notExisted" | "invalidParameter.token.invalid",
        )
        | (Call::CustomRobot, "300001" | "300005" | "400101") => Some((Rule::Session, ROBOT_URL)),
        // One code for all three security settings (oapi.md, section 4.3).
        (Call::CustomRobot, "310000") if said("timestamp") => Some((Rule::Hold, CLOCK)),
        (Call::CustomRobot, "310000") if said("sign") || said("whitelist") => {
            Some((Rule::Hold, SECURITY))
        }
        (Call::CardStream, "unknownError") => Some((Rule::Permanent, CARD_KEY)),
        // Just sent, or long ago: DingTalk does not tell which (oapi.md, section 3.3).
        (Call::Query, "processQueryKey.expireTime") => Some((Rule::Later(2), RECALL)),
        _ => None,
    }
}

type Row = (&'static str, Rule, &'static str);

/// Families of codes, for what the exact rows do not name.
const FAMILIES: &[Row] = &[
    ("Forbidden.AccessDenied", Rule::Permission, ""),
    ("invalidParameter.", Rule::Permanent, ""),
    ("invalid.param.", Rule::Permanent, ""),
    ("miss.param.", Rule::Permanent, ""),
    ("param.", Rule::Permanent, ""),
    ("contain.", Rule::Permanent, ""),
];

/// Codes of the v1.0 API (oapi.md, sections 1, 2.7 and 9.2).
const NAMED: &[Row] = &[
    ("InvalidAuthentication", Rule::Token, CREDENTIALS),
    ("invalidClientIdOrSecret", Rule::Hold, CREDENTIALS),
    ("invalid.client", Rule::Hold, CREDENTIALS),
    ("unauthorized.client", Rule::Hold, CREDENTIALS),
    ("unsupported.grant.type", Rule::Permanent, ""),
    ("Missingbody", Rule::Permanent, ""),
    (
        "Forbidden.AccessDenied.AccessTokenPermissionDenied",
        Rule::Permission,
        "",
    ),
    (
        "Forbidden.AccessDenied.IpNotInWhiteList",
        Rule::Hold,
        ADDRESS,
    ),
    (
        "Forbidden.AccessDenied.ApiCountLimitForOrg",
        Rule::Month,
        QUOTA,
    ),
    ("invalidParameter.robotCode.empty", Rule::Permanent, ROBOT),
    ("invalidParameter.robotCode.missing", Rule::Permanent, ROBOT),
    ("invalidParameter.robotCode.invalid", Rule::Permanent, ROBOT),
    (
        "invalidParameter.robotCode.notExsit",
        Rule::Permanent,
        ROBOT,
    ),
    ("resource.not.found", Rule::Permanent, ROBOT),
    ("invalidParameter.robotCode.auth", Rule::Permanent, ROBOT),
    (
        "invalidParameter.robotCode.coolApp",
        Rule::Permanent,
        COOL_APP,
    ),
    ("invalidParameter.userIds.empty", Rule::Permanent, STAFF),
    ("invalidParameter.userIds.invalid", Rule::Permanent, STAFF),
    (
        "invalidParameter.userIds.overMax",
        Rule::Permanent,
        "send to at most 20 users at once",
    ),
    ("invalidParameter.userId.empty", Rule::Permanent, STAFF),
    ("staffId.notExisted", Rule::Permanent, STAFF),
    ("invalidParameter.msgKey.empty", Rule::Permanent, ""),
    ("invalidParameter.msgKey.invalid", Rule::Permanent, ""),
    ("invalidParameter.msgParam.invalid", Rule::Permanent, ""),
    (
        "invalidParameter.msgParam.tooLong",
        Rule::Permanent,
        SHORTER,
    ),
    ("invalidParameter.param.invalid", Rule::Permanent, ""),
    ("invalidParameter.msg.unsupport", Rule::Permanent, ""),
    ("invalidParameter.msgBody.invalid", Rule::Permanent, ""),
    ("miss.openConversationId", Rule::Permanent, ""),
    ("invalid.openConversationId", Rule::Permanent, ""),
    (
        "invalidParameter.openConversationId.invalid",
        Rule::Permanent,
        "",
    ),
    ("conversation.org.notMatch", Rule::Permanent, ""),
    ("group.disbanded", Rule::Permanent, ""),
    ("group.nonexist", Rule::Permanent, ""),
    ("group.notReady", Rule::Later(2), ""),
    ("group.creating", Rule::Later(2), ""),
    ("bot.stopped", Rule::Permanent, MEMBER),
    ("template.stopped", Rule::Permanent, TEMPLATE),
    ("template.not.existed", Rule::Permanent, TEMPLATE),
    ("bot.forbidden.sendMessage", Rule::Permanent, MUTED),
    ("send.forbidden", Rule::Permanent, MUTED),
    ("chatbotId.notAllow.sendOTO", Rule::Permanent, DIRECT),
    ("robot.oto.notExist", Rule::Permanent, DIRECT),
    ("token.notExisted", Rule::Permanent, ""),
    ("invalidParameter.token.invalid", Rule::Permanent, ""),
    ("unauthorized", Rule::Permanent, ACCESS),
    ("auth.error", Rule::Permanent, ACCESS),
    ("auth.failed", Rule::Permanent, ACCESS),
    ("resource.unavailable", Rule::Permanent, ACCESS),
    ("session.notExisted", Rule::Session, ""),
    ("session.expired", Rule::Session, ""),
    ("contain.unsafe.url", Rule::Permanent, ""),
    ("contain.notAllowed.text", Rule::Permanent, ""),
    ("contain.notAllowed.picture", Rule::Permanent, ""),
    ("contain.notAllowed.content", Rule::Permanent, ""),
    ("illegal.receivers", Rule::Permanent, ""),
    ("receivers.exceed", Rule::Permanent, ""),
    ("illegal.excludes", Rule::Permanent, ""),
    ("sendMessage.model.notMatch", Rule::Permanent, ""),
    ("only.groupAdmin.canAtAll", Rule::Permanent, AT_ALL),
    ("ip.not.match", Rule::Permanent, SECURITY),
    ("keywords.not.match", Rule::Permanent, SECURITY),
    ("sign.not.match", Rule::Permanent, SECURITY),
    (
        "batch.toolarge",
        Rule::Permanent,
        "send to at most 20 users at once",
    ),
    // Limits of one group or one receiver: the others are not slowed for them.
    ("send.too.fast", Rule::Later(2), ""),
    ("send.byToken.tooFast", Rule::Later(2), ""),
    ("too.many.group", Rule::Later(2), ""),
    ("too.many.people", Rule::Later(2), ""),
    ("toomuch.msg", Rule::Qpm, ""),
    ("unknown.send.result", Rule::Ambiguous, ""),
    // Recalls and read states (oapi.md, section 3).
    ("not.allowed.robotCode", Rule::Permanent, RECALL),
    ("robot.processQueryKey.expired", Rule::Permanent, RECALL),
    ("processQueryKey.expireTime", Rule::Permanent, RECALL),
    ("invalid.processQueryKey", Rule::Permanent, RECALL),
    (
        "invalidParameter.processQueryKeys.overMax",
        Rule::Permanent,
        RECALL,
    ),
    ("notRevoke.all.messages", Rule::Permanent, RECALL),
    ("openConversationId.notExisted", Rule::Permanent, ""),
    ("conversation.org.dismatch", Rule::Permanent, ""),
    ("miss.chatbotId", Rule::Permanent, ROBOT),
    // Media (oapi.md, section 5.2).
    (
        "invalidParameter.robotCode.downloadCode",
        Rule::Permanent,
        EXPIRED,
    ),
    // Cards (oapi.md, section 6.7).
    ("param.templateNotExist", Rule::Permanent, CARD_TEMPLATE),
    ("param.templateUnpublished", Rule::Permanent, CARD_TEMPLATE),
    ("param.cardTemplateIdEmpty", Rule::Permanent, CARD_TEMPLATE),
    ("param.userIdNotExist", Rule::Permanent, STAFF),
    ("param.userIdEmpty", Rule::Permanent, STAFF),
    ("param.openSpaceIdInvalid", Rule::Permanent, CARD_SPACE),
    ("param.stream.keyEmpty", Rule::Permanent, CARD_KEY),
    ("param.stream.content", Rule::Permanent, SHORTER),
    ("outTrackId.outOfLimit", Rule::Permanent, CARD_ID),
    ("system.error", Rule::Fault, ""),
    ("system.err", Rule::Fault, ""),
    ("send.ding.exception", Rule::Fault, ""),
    ("server.error", Rule::Fault, ""),
    ("internalError", Rule::Fault, ""),
    ("system.busy", Rule::Busy, ""),
    ("systemBusy", Rule::Busy, ""),
    ("serviceBusy", Rule::Busy, ""),
    ("operationTimeout", Rule::Busy, ""),
    ("service.timeout", Rule::Ambiguous, ""),
    ("service.unavailable", Rule::Busy, ""),
];

/// Codes of the legacy API and the webhooks (oapi.md, sections 1.3, 4.3 and 9.3).
const LEGACY: &[Row] = &[
    ("-1", Rule::Later(2), ""),
    ("88", Rule::Permanent, ACCESS),
    ("33012", Rule::Permanent, STAFF),
    ("34015", Rule::Later(2), ""),
    ("34016", Rule::Permanent, SHORTER),
    ("40001", Rule::Token, CREDENTIALS),
    ("40003", Rule::Permanent, STAFF),
    ("40014", Rule::Token, CREDENTIALS),
    ("40004", Rule::Permanent, FORMAT),
    ("40005", Rule::Permanent, FORMAT),
    ("40006", Rule::Permanent, SIZE),
    ("40007", Rule::Permanent, ""),
    ("40035", Rule::Permanent, ""),
    ("40089", Rule::Hold, CREDENTIALS),
    ("41001", Rule::Token, CREDENTIALS),
    ("41005", Rule::Permanent, "an empty file is not taken"),
    ("42001", Rule::Token, CREDENTIALS),
    ("43002", Rule::Permanent, ""),
    ("43004", Rule::Permanent, ""),
    ("43008", Rule::Permanent, ""),
    ("44001", Rule::Permanent, "an empty file is not taken"),
    ("45001", Rule::Permanent, SIZE),
    ("60011", Rule::Permission, ""),
    ("60020", Rule::Hold, ADDRESS),
    ("60121", Rule::Permanent, STAFF),
    ("90002", Rule::Qps, ""),
    ("90006", Rule::Qps, ""),
    ("90018", Rule::Qps, ""),
    ("90019", Rule::Qps, ""),
    ("90020", Rule::Month, QUOTA),
    ("90030", Rule::Month, QUOTA),
    ("101002", Rule::Permanent, SHORTER),
    ("130101", Rule::Mute, ""),
    ("300001", Rule::Session, ""),
    ("300005", Rule::Session, ""),
    ("302033", Rule::Mute, ""),
    ("310000", Rule::Permanent, SECURITY),
    ("400013", Rule::Permanent, ""),
    ("400101", Rule::Session, ""),
    ("400102", Rule::Permanent, MEMBER),
    ("400105", Rule::Permanent, ""),
    ("400106", Rule::Permanent, MEMBER),
    ("410100", Rule::Mute, ""),
    ("430101", Rule::Permanent, ""),
    ("430102", Rule::Permanent, ""),
    ("430103", Rule::Permanent, ""),
    ("430104", Rule::Permanent, ""),
    ("460101", Rule::Permanent, SHORTER),
];
