package presencectl;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.getstream.chat.java.models.App;
import io.getstream.chat.java.models.DeleteStrategy;
import io.getstream.chat.java.models.FilterCondition;
import io.getstream.chat.java.models.RateLimit;
import io.getstream.chat.java.models.Sort;
import io.getstream.chat.java.models.TaskStatus;
import io.getstream.chat.java.models.User;
import io.getstream.chat.java.models.User.UserPartialUpdateRequestObject;
import io.getstream.chat.java.models.User.UserRequestObject;
import java.time.Instant;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class UsersTest {
  @BeforeAll
  static void useMock() {
    Stage.useMock();
  }

  @Test
  void anUpsertCreatesAndReplaces() throws Exception {
    String id = Stage.id("john");
    UserRequestObject first =
        UserRequestObject.builder().id(id).name("John").additionalField("color", "green").build();
    User made = User.upsert().user(first).request().getUsers().get(id);
    assertEquals("green", made.getAdditionalFields().get("color"));
    assertEquals("user", made.getRole());
    assertFalse(made.getOnline());
    User.upsert().user(UserRequestObject.builder().id(id).name("Jack").build()).request();
    User found = Stage.find(id);
    assertEquals("Jack", found.getName());
    assertNull(found.getAdditionalFields().get("color"));
    assertEquals(made.getCreatedAt(), found.getCreatedAt());
  }

  @Test
  void aBatchCreatesManyUsers() throws Exception {
    Map<String, UserRequestObject> users = new LinkedHashMap<>();
    for (int i = 0; i < 25; i++) {
      String id = Stage.id("batch");
      users.put(id, UserRequestObject.builder().id(id).build());
    }
    assertEquals(users.keySet(), User.upsert().users(users).request().getUsers().keySet());
    List<User> found =
        User.list()
            .filterConditions(FilterCondition.in("id", users.keySet().toArray()))
            .limit(100)
            .request()
            .getUsers();
    assertEquals(25, found.size());
  }

  @Test
  void aPartialUpdateSetsAndUnsets() throws Exception {
    String id = Stage.user("amy");
    UserPartialUpdateRequestObject change =
        UserPartialUpdateRequestObject.builder().id(id).setValue("color", "red").unsetValue("name").build();
    User changed = User.partialUpdate().user(change).request().getUsers().get(id);
    assertEquals("red", changed.getAdditionalFields().get("color"));
    assertNull(changed.getName());
  }

  @Test
  void invisibilityIsSetAndRead() throws Exception {
    String id = Stage.user("ghost");
    UserPartialUpdateRequestObject change =
        UserPartialUpdateRequestObject.builder().id(id).setValue("invisible", true).build();
    User.partialUpdate().user(change).request();
    assertTrue(Stage.find(id).getInvisible());
  }

  @Test
  void usersAreSortedAndPaged() throws Exception {
    String[] ids = {Stage.user("one"), Stage.user("two"), Stage.user("three")};
    List<User> page =
        User.list()
            .filterConditions(FilterCondition.in("id", (Object[]) ids))
            .sort(Sort.builder().field("created_at").direction(Sort.Direction.DESC).build())
            .offset(1)
            .limit(1)
            .request()
            .getUsers();
    assertEquals(1, page.size());
    assertEquals(ids[1], page.get(0).getId());
  }

  @Test
  void autocompleteFindsTheStartOfAnyWord() throws Exception {
    String id = Stage.id("words");
    String word = Stage.id("unusual");
    User.upsert().user(UserRequestObject.builder().id(id).name("Very " + word).build()).request();
    List<User> found =
        User.list().filterConditions(FilterCondition.autocomplete("name", word)).request().getUsers();
    assertEquals(1, found.size());
    assertEquals(id, found.get(0).getId());
  }

  @Test
  void deactivatedUsersLeaveQueriesAndComeBack() throws Exception {
    String id = Stage.user("sleepy");
    assertNotNull(User.deactivate(id).request().getUser().getDeactivatedAt());
    assertNull(Stage.find(id));
    List<User> all =
        User.list().filterCondition("id", id).includeDeactivatedUsers(true).request().getUsers();
    assertEquals(1, all.size());
    User.reactivate(id).name("awake").request();
    assertEquals("awake", Stage.find(id).getName());
  }

  @Test
  void aDeletedUserIsGone() throws Exception {
    String id = Stage.user("gone");
    assertNotNull(User.delete(id).request().getUser().getDeletedAt());
    assertNull(Stage.find(id));
  }

  @Test
  void manyUsersAreDeletedByATask() throws Exception {
    List<String> ids = List.of(Stage.user("x"), Stage.user("y"));
    String task =
        User.deleteMany(ids)
            .deleteUserStrategy(DeleteStrategy.HARD)
            .deleteMessagesStrategy(DeleteStrategy.HARD)
            .request()
            .getTaskId();
    TaskStatus.TaskStatusGetResponse status = TaskStatus.get(task).request();
    assertEquals("completed", status.getStatus());
    assertEquals(ids.size(), status.getResult().size());
    assertNull(Stage.find(ids.get(0)));
  }

  @Test
  void aTokenConnectsItsUserWhoIsThenOnline() throws Exception {
    String id = Stage.user("live");
    try (Stage.Connection connection = new Stage.Connection(id, User.createToken(id, null, null))) {
      String hello = connection.event("health.check");
      assertTrue(hello.contains("\"online\":true"), hello);
      User user = Stage.find(id);
      assertTrue(user.getOnline());
      assertNotNull(user.getLastActive());
    }
  }

  @Test
  void aConnectedUserHearsOfTheirOwnChanges() throws Exception {
    String id = Stage.user("listener");
    try (Stage.Connection connection = new Stage.Connection(id, User.createToken(id, null, null))) {
      connection.event("health.check");
      UserPartialUpdateRequestObject change =
          UserPartialUpdateRequestObject.builder().id(id).setValue("status", "at lunch").build();
      User.partialUpdate().user(change).request();
      assertTrue(connection.event("user.updated").contains("at lunch"));
    }
  }

  @Test
  void anExpiredTokenIsRefused() throws Exception {
    String id = Stage.user("late");
    Date past = Date.from(Instant.now().minusSeconds(3600));
    try (Stage.Connection connection = new Stage.Connection(id, User.createToken(id, past, null))) {
      assertTrue(connection.event("connection.error").contains("\"code\":40"));
    }
  }

  @Test
  void revokedTokensAreRefused() throws Exception {
    String id = Stage.user("revoked");
    Date issued = Date.from(Instant.now().minusSeconds(60));
    String token = User.createToken(id, null, issued);
    User.revokeToken(id, new Date()).request();
    try (Stage.Connection connection = new Stage.Connection(id, token)) {
      connection.event("connection.error");
    }
  }

  @Test
  void aGuestGetsAToken() throws Exception {
    User.UserCreateGuestResponse guest =
        User.createGuest().user(UserRequestObject.builder().id(Stage.id("visitor")).build()).request();
    assertEquals("guest", guest.getUser().getRole());
    String id = guest.getUser().getId();
    try (Stage.Connection connection = new Stage.Connection(id, guest.getAccessToken())) {
      connection.event("health.check");
    }
  }

  @Test
  void anUnknownUserIsNotFound() {
    var refusal = Stage.refusal(() -> User.deactivate("java-nobody").request());
    assertEquals(404, refusal.getStatusCode());
    assertEquals(16, refusal.getCode());
    assertTrue(refusal.getMessage().startsWith("DeactivateUser failed with error"));
  }

  @Test
  void aWrongFilterIsAnInputError() {
    var refusal =
        Stage.refusal(() -> User.list().filterCondition("id", Map.of("$nope", 1)).request());
    assertEquals(400, refusal.getStatusCode());
    assertEquals(4, refusal.getCode());
  }

  @Test
  void rateLimitsAreToldForNamedEndpoints() throws Exception {
    App.AppGetRateLimitsResponse limits =
        App.getRateLimits().serverSide(true).endpoint("QueryUsers").request();
    RateLimit limit = limits.getServerSide().get("QueryUsers");
    assertEquals(1, limits.getServerSide().size());
    assertTrue(limit.getRemaining() < limit.getLimit());
    assertNotNull(limit.getReset());
  }

  @Test
  void usersMuteEachOther() throws Exception {
    String one = Stage.user("one");
    String two = Stage.user("two");
    User.UserMuteResponse muted = User.mute().singleTargetId(two).userId(one).request();
    assertEquals(two, muted.getMute().getTarget().getId());
    assertEquals(1, muted.getOwnUser().getMutes().size());
    User.unmute().singleTargetId(two).userId(one).request();
    assertTrue(Stage.find(one).getMutes().isEmpty());
  }

  @Test
  void aBanIsListedAndLifted() throws Exception {
    String judge = Stage.user("judge");
    String id = Stage.user("banned");
    User.ban().targetUserId(id).bannedById(judge).reason("spam").request();
    assertTrue(Stage.find(id).getBanned());
    var bans = User.queryBanned().filterCondition("user_id", id).request().getBans();
    assertEquals("spam", bans.get(0).getReason());
    User.unban(id).request();
    assertFalse(Stage.find(id).getBanned());
  }
}
