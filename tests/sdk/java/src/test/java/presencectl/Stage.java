package presencectl;

import io.getstream.chat.java.exceptions.StreamException;
import io.getstream.chat.java.models.Channel;
import io.getstream.chat.java.models.Channel.ChannelMemberRequestObject;
import io.getstream.chat.java.models.Channel.ChannelRequestObject;
import io.getstream.chat.java.models.FilterCondition;
import io.getstream.chat.java.models.User;
import io.getstream.chat.java.models.User.UserRequestObject;
import io.getstream.chat.java.services.framework.DefaultClient;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

/** The server that cargo test has started, and ids that no other case uses. */
final class Stage {
  private static final AtomicInteger COUNT = new AtomicInteger();
  private static final String URL = System.getenv("PRESENCECTL_MOCK_URL");
  private static final String KEY = System.getenv("PRESENCECTL_MOCK_API_KEY");

  private Stage() {}

  /** Points the client at the mock server. */
  static void useMock() {
    Properties properties = new Properties();
    properties.setProperty(DefaultClient.API_KEY_PROP_NAME, KEY);
    properties.setProperty(DefaultClient.API_SECRET_PROP_NAME, System.getenv("PRESENCECTL_MOCK_SECRET"));
    properties.setProperty(DefaultClient.API_URL_PROP_NAME, URL);
    DefaultClient.setInstance(new DefaultClient(properties));
  }

  static String id(String name) {
    return "java-" + name + "-" + COUNT.incrementAndGet();
  }

  /** Makes a user, and gives their id. */
  static String user(String name) throws StreamException {
    String id = id(name);
    User.upsert().user(UserRequestObject.builder().id(id).name(name).build()).request();
    return id;
  }

  /** The user as a query answers them, or null. */
  static User find(String id) throws StreamException {
    List<User> users = User.list().filterCondition("id", id).request().getUsers();
    return users.isEmpty() ? null : users.get(0);
  }

  static ChannelMemberRequestObject member(String id) {
    return ChannelMemberRequestObject.builder().userId(id).build();
  }

  /** Makes a messaging channel whose creator is the first member, and gives its id. */
  static String channel(String... members) throws StreamException {
    String id = id("channel");
    ChannelRequestObject.ChannelRequestObjectBuilder data =
        ChannelRequestObject.builder().createdBy(UserRequestObject.builder().id(members[0]).build());
    for (String member : members) {
      data.member(member(member));
    }
    Channel.getOrCreate("messaging", id).data(data.build()).state(true).request();
    return id;
  }

  /** The channel's state. */
  static Channel.ChannelGetResponse state(String id) throws StreamException {
    return Channel.getOrCreate("messaging", id).state(true).request();
  }

  static List<Channel.ChannelGetResponse> channelsOf(String user) throws StreamException {
    return Channel.list()
        .filterConditions(FilterCondition.in("members", user))
        .userId(user)
        .request()
        .getChannels();
  }

  /** What the service says of a call that it refuses. */
  static StreamException.ResponseData refusal(org.junit.jupiter.api.function.Executable call) {
    StreamException error = assertThrows(StreamException.class, call);
    assertNotNull(error.getResponseData(), () -> "no answer of the service: " + error);
    return error.getResponseData();
  }

  /** A connected client, as one line of JSON per event. */
  static final class Connection implements AutoCloseable, WebSocket.Listener {
    private final LinkedBlockingQueue<String> events = new LinkedBlockingQueue<>();
    private final StringBuilder partial = new StringBuilder();
    private final WebSocket socket;

    Connection(String user, String token) {
      String json = "{\"user_id\":\"" + user + "\",\"user_details\":{\"id\":\"" + user + "\"}}";
      String address =
          URL.replaceFirst("^http", "ws")
              + "/connect?stream-auth-type=jwt&api_key=" + KEY
              + "&authorization=" + token
              + "&json=" + URLEncoder.encode(json, StandardCharsets.UTF_8);
      socket = HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(address), this).join();
    }

    @Override
    public CompletionStage<?> onText(WebSocket webSocket, CharSequence data, boolean last) {
      partial.append(data);
      if (last) {
        events.add(partial.toString());
        partial.setLength(0);
      }
      webSocket.request(1);
      return null;
    }

    /** The next event that contains a text. */
    String event(String text) throws InterruptedException {
      while (true) {
        String event = events.poll(60, TimeUnit.SECONDS);
        assertNotNull(event, () -> "no event with " + text);
        if (event.contains(text)) {
          return event;
        }
      }
    }

    @Override
    public void close() {
      // The server may have closed it already.
      socket.sendClose(WebSocket.NORMAL_CLOSURE, "").exceptionally(error -> null).join();
    }
  }
}
