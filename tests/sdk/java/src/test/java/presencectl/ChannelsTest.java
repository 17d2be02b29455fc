package presencectl;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.getstream.chat.java.exceptions.StreamException;
import io.getstream.chat.java.models.Channel;
import io.getstream.chat.java.models.Channel.ChannelMember;
import io.getstream.chat.java.models.Channel.ChannelRequestObject;
import io.getstream.chat.java.models.FilterCondition;
import io.getstream.chat.java.models.Message;
import io.getstream.chat.java.models.Message.MessageRequestObject;
import io.getstream.chat.java.models.User;
import io.getstream.chat.java.models.User.UserRequestObject;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class ChannelsTest {
  @BeforeAll
  static void useMock() {
    Stage.useMock();
  }

  private static ChannelMember member(List<ChannelMember> members, String id) {
    return members.stream().filter(member -> member.getUserId().equals(id)).findFirst().orElse(null);
  }

  private static Message send(String channel, String user, String text) throws StreamException {
    MessageRequestObject message = MessageRequestObject.builder().text(text).userId(user).build();
    return Message.send("messaging", channel).message(message).request().getMessage();
  }

  @Test
  void aChannelHasItsMembers() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    var state = Stage.state(Stage.channel(a, b));
    assertEquals(2, state.getChannel().getMemberCount());
    assertEquals(a, state.getChannel().getCreatedBy().getId());
    assertEquals("owner", member(state.getMembers(), a).getRole());
    assertEquals("member", member(state.getMembers(), b).getRole());
  }

  @Test
  void membersComeAndGo() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    String id = Stage.channel(a);
    var added = Channel.update("messaging", id).addMember(b).request();
    assertNotNull(member(added.getMembers(), b));
    var removed = Channel.update("messaging", id).removeMember(b).request();
    assertNull(member(removed.getMembers(), b));
  }

  @Test
  void anInvitedMemberAccepts() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    String id = Stage.channel(a);
    var invited = Channel.update("messaging", id).invite(b).request();
    assertTrue(member(invited.getMembers(), b).getInvited());
    var accepted = Channel.update("messaging", id).acceptInvite(true).userId(b).request();
    assertNotNull(member(accepted.getMembers(), b).getInviteAcceptedAt());
  }

  @Test
  void anInvitedMemberRejects() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    String id = Stage.channel(a);
    Channel.update("messaging", id).invite(b).request();
    var rejected = Channel.update("messaging", id).rejectInvite(true).userId(b).request();
    assertNotNull(member(rejected.getMembers(), b).getInviteRejectedAt());
  }

  @Test
  void moderatorsArePromotedAndDemoted() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    String id = Stage.channel(a, b);
    var promoted = Channel.update("messaging", id).addModerator(b).request();
    assertTrue(member(promoted.getMembers(), b).getIsModerator());
    var demoted = Channel.update("messaging", id).demoteModerator(b).request();
    assertEquals("member", member(demoted.getMembers(), b).getRole());
  }

  @Test
  void aPartialUpdateKeepsOtherFields() throws Exception {
    String id = Stage.channel(Stage.user("a"));
    Channel.partialUpdate("messaging", id).setValue("color", "green").setValue("size", 3).request();
    var changed = Channel.partialUpdate("messaging", id).unsetValue("size").request();
    assertEquals("green", changed.getChannel().getAdditionalFields().get("color"));
    assertNull(changed.getChannel().getAdditionalFields().get("size"));
  }

  @Test
  void membersAreQueried() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    String id = Stage.channel(a, b);
    var found = Channel.queryMembers().type("messaging").id(id).filterCondition("id", b).request();
    assertEquals(1, found.getMembers().size());
    assertEquals(b, found.getMembers().get(0).getUserId());
  }

  @Test
  void aHiddenChannelIsLeftOut() throws Exception {
    String a = Stage.user("a");
    String id = Stage.channel(a);
    Channel.hide("messaging", id).userId(a).request();
    assertTrue(Stage.channelsOf(a).isEmpty());
    Channel.show("messaging", id).userId(a).request();
    assertEquals(1, Stage.channelsOf(a).size());
  }

  @Test
  void aDeletedChannelIsGone() throws Exception {
    String a = Stage.user("a");
    String id = Stage.channel(a);
    assertNotNull(Channel.delete("messaging", id).request().getChannel().getDeletedAt());
    assertTrue(Stage.channelsOf(a).isEmpty());
    var refusal = Stage.refusal(() -> Channel.delete("messaging", id).request());
    assertEquals(16, refusal.getCode());
  }

  @Test
  void membersMustExist() {
    var refusal = Stage.refusal(() -> Stage.channel("java-nobody-at-all"));
    assertEquals(400, refusal.getStatusCode());
    assertEquals(4, refusal.getCode());
  }

  @Test
  void aChannelNeedsACreator() {
    ChannelRequestObject data = ChannelRequestObject.builder().build();
    String id = Stage.id("nobodys");
    var refusal = Stage.refusal(() -> Channel.getOrCreate("messaging", id).data(data).request());
    assertEquals(4, refusal.getCode());
  }

  @Test
  void aDistinctChannelIsFoundAgain() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    ChannelRequestObject data =
        ChannelRequestObject.builder()
            .createdBy(UserRequestObject.builder().id(a).build())
            .member(Stage.member(a))
            .member(Stage.member(b))
            .build();
    String first = Channel.getOrCreate("messaging").data(data).request().getChannel().getId();
    String second = Channel.getOrCreate("messaging").data(data).request().getChannel().getId();
    assertEquals(first, second);
  }

  @Test
  void onlineMembersAreSeenInTheirChannel() throws Exception {
    String a = Stage.user("a");
    String id = Stage.channel(a);
    try (Stage.Connection connection = new Stage.Connection(a, User.createToken(a, null, null))) {
      connection.event("health.check");
      assertTrue(Stage.state(id).getMembers().get(0).getUser().getOnline());
    }
  }

  @Test
  void aMemberHearsThatTheyWereAdded() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    String id = Stage.channel(a);
    try (Stage.Connection connection = new Stage.Connection(b, User.createToken(b, null, null))) {
      connection.event("health.check");
      Channel.update("messaging", id).addMember(b).request();
      assertTrue(connection.event("notification.added_to_channel").contains(id));
    }
  }

  @Test
  void aMessageIsReadChangedAndDeleted() throws Exception {
    String a = Stage.user("a");
    String id = Stage.channel(a);
    Message sent = send(id, a, "hello");
    assertEquals("hello", Message.get(sent.getId()).request().getMessage().getText());
    MessageRequestObject change = MessageRequestObject.builder().text("bye").userId(a).build();
    Message.update(sent.getId()).message(change).request();
    var state = Stage.state(id);
    assertEquals("bye", state.getMessages().get(0).getText());
    assertEquals(sent.getCreatedAt(), state.getChannel().getLastMessageAt());
    assertNotNull(Message.delete(sent.getId()).request().getMessage().getDeletedAt());
  }

  @Test
  void unreadMessagesAreCountedUntilTheyAreRead() throws Exception {
    String a = Stage.user("a");
    String b = Stage.user("b");
    String id = Stage.channel(a, b);
    send(id, a, "one");
    send(id, a, "two");
    assertEquals(2, Stage.state(id).getRead().get(1).getUnreadMessages());
    Channel.markRead("messaging", id).userId(b).request();
    assertEquals(0, Stage.state(id).getRead().get(1).getUnreadMessages());
  }

  @Test
  void aTruncatedChannelIsEmpty() throws Exception {
    String a = Stage.user("a");
    String id = Stage.channel(a);
    send(id, a, "one");
    Channel.truncate("messaging", id).request();
    assertTrue(Stage.state(id).getMessages().isEmpty());
  }

  @Test
  void channelsAreFoundByCustomFields() throws Exception {
    String id = Stage.channel(Stage.user("a"));
    Channel.partialUpdate("messaging", id).setValue("marker", id).request();
    var found = Channel.list().filterConditions(FilterCondition.eq("marker", id)).request();
    assertEquals(1, found.getChannels().size());
  }
}
